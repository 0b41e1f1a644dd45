"""The cache of known layers: whatever its files hold, it only says what it was told."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layers.known_cache import KnownCache
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.cache_directory import cache_directory


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def blob(number: int, size: int = 10) -> LayerBlob:
    history = LayerHistory("made by", "a comment")
    return LayerBlob(
        digest(1), digest(2 + size), size, LAYER_MEDIA_TYPE, history, digest(number), 99
    )


def test_what_was_added_is_found(tmp_path: Path) -> None:
    cache = KnownCache(tmp_path)
    assert cache.find(digest(7)) is None
    cache.add([blob(7), blob(8)], ["host/a"])
    found = KnownCache(tmp_path).find(digest(7))
    assert found is not None
    assert found.blob.digest == blob(7).digest
    assert (found.blob.diff_id, found.blob.size, found.blob.key) == (digest(1), 10, digest(7))
    assert found.repositories == ("host/a",)


def test_annotations_of_blobs_are_kept(tmp_path: Path) -> None:
    """But no others: a manifest with them gets those of its own image."""
    cache = KnownCache(tmp_path)
    own = {"containerd.io/snapshot/stargz/toc.digest": digest(3)}
    cache.add([replace(blob(7), annotations={**own, "org.opencontainers.image.title": "x"})])
    found = cache.find(digest(7))
    assert found is not None
    assert found.blob.annotations == own


def test_repositories_are_collected_while_the_blob_is_the_same(tmp_path: Path) -> None:
    cache = KnownCache(tmp_path)
    for name in ("a", "b", "a", *"cdefghij"):
        cache.add([blob(7)], [f"host/{name}"])
    found = cache.find(digest(7))
    assert found is not None
    assert found.repositories == tuple(f"host/{name}" for name in "jihgfedc")
    cache.add([blob(7, size=11)], ["host/k"])
    found = cache.find(digest(7))
    assert found is not None
    assert (found.blob.size, found.repositories) == (11, ("host/k",))


def test_without_a_directory_nothing_is_known() -> None:
    cache = KnownCache(None)
    cache.add([blob(7)])
    assert cache.find(digest(7)) is None


def test_a_directory_that_can_not_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "layers").write_text("")
    cache = KnownCache(tmp_path)
    cache.add([blob(7)])
    assert cache.find(digest(7)) is None


@given(st.binary(max_size=300))
def test_a_damaged_file_is_not_known(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("cache")
    cache = KnownCache(directory)
    cache.add([blob(7)])
    (file,) = (directory / "layers").iterdir()
    file.write_bytes(data)
    assert cache.find(digest(7)) is None
    cache.add([blob(7)])
    assert cache.find(digest(7)) is not None


@pytest.mark.parametrize(
    "change",
    [
        ('"digest":"sha256:', '"digest":"sha256:../'),
        ('"diff_id":"sha256:', '"diff_id":"md5:'),
        ('"size":10', '"size":-10'),
        ('"size":10', '"size":"10"'),
        ('"size":10', f'"size":{2**63 - 1}'),
        ('"size":10', f'"size":1{"0" * 30}'),
        (LAYER_MEDIA_TYPE, "text/plain"),
        ('"key":"sha256:0', '"key":"sha256:1'),
    ],
)
def test_a_file_with_other_values_is_not_known(tmp_path: Path, change: tuple[str, str]) -> None:
    cache = KnownCache(tmp_path)
    cache.add([blob(7)])
    (file,) = (tmp_path / "layers").iterdir()
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    assert cache.find(digest(7)) is None


def test_the_oldest_are_dropped(tmp_path: Path) -> None:
    cache = KnownCache(tmp_path, most=20)
    for number in range(50):
        cache.add([blob(number)])
        file = tmp_path / "layers" / f"{number:064x}"
        os.utime(file, ns=(number, number))
    names = sorted(os.listdir(tmp_path / "layers"))
    assert 15 <= len(names) <= 20
    assert names == [f"{number:064x}" for number in range(50 - len(names), 50)]


def test_several_processes_may_add_at_once(tmp_path: Path) -> None:
    def add(worker: int) -> None:
        cache = KnownCache(tmp_path, most=10)
        for number in range(30):
            cache.add([blob(number)], [f"host/{worker}"])
            found = cache.find(digest(number))
            assert found is None or found.blob.key == digest(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert len(os.listdir(tmp_path / "layers")) <= 10 + 8


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/nixdock"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/nixdock"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/nixdock"),
        ({"HOME": ""}, None),
        ({}, None),
        ({"HOME": "/h", "NIX_BUILD_TOP": "/build"}, None),
        ({"HOME": "/h", "NIX_BUILD_TOP": "/build", "IN_NIX_SHELL": "pure"}, "/h/.cache/nixdock"),
    ],
)
def test_the_directory(environment: dict[str, str], expected: str | None) -> None:
    assert cache_directory(environment) == (expected and Path(expected))
