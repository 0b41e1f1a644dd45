"""What is in NARs is remembered by their hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.nix.nar_entry import NarEntry
from nixdock.stores.known_listings import KnownListings

from .fake_cache import FakeCache
from .reaching import open_sample
from .sample_cache import APP, LIBC, Sample, hash_of

HASH, OTHER = hash_of(b"a"), hash_of(b"b")
ENTRIES = [
    NarEntry(b"", "directory"),
    NarEntry(b"\xff", "regular", True, 7),
    NarEntry(b"x", "symlink", target=b"/\xfe"),
]


def test_what_was_added_is_found(tmp_path: Path) -> None:
    known = KnownListings(tmp_path)
    known.add(HASH, ENTRIES)
    assert KnownListings(tmp_path).find(HASH) == ENTRIES
    assert known.find(OTHER) is None
    KnownListings(None).add(HASH, ENTRIES)
    assert KnownListings(None).find(HASH) is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"nar_hash":"x","entries":[]}', b"\xff"])
def test_files_that_are_none_count_for_nothing(tmp_path: Path, data: bytes) -> None:
    known = KnownListings(tmp_path)
    known.add(HASH, ENTRIES)
    (file,) = (tmp_path / "listings").iterdir()
    file.write_bytes(data)
    assert known.find(HASH) is None


def test_long_listings_are_not_kept(tmp_path: Path) -> None:
    known = KnownListings(tmp_path)
    known.add(HASH, [NarEntry(b"x" * 16_000, "directory")] * 600)
    assert known.find(HASH) is None


def test_a_nar_is_read_once_for_links(fake: FakeCache, closure: Sample, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "home")}
    found = []
    for _ in range(2):
        stores = open_sample(fake.url, environment=environment)
        found.append([*stores.listing(APP, sure=True)])
        assert [name for name in fake.names if name.startswith("nar/")] == [
            f"nar/{APP.hash_part}.nar.xz"
        ]
    assert found[0] == found[1]
    # Another hash is another NAR.
    assert [*stores.listing(LIBC, sure=True)] != found[0]
