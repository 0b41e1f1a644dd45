"""Layers have the same bytes from a cache as from the local store, however they are packed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from nixdock.errors import CacheError, StoreError
from nixdock.layers.compression import Compression
from nixdock.layers.layer import Packing
from nixdock.layers.pack import pack_all
from nixdock.layers.single import SingleLayer
from nixdock.layers.store import StoreLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.oci.digests import sha256_digest
from nixdock.stores.local import LocalStore
from nixdock.stores.several import Stores
from nixdock.tar.permissions import PermissionRule
from tests.unit.registry.fake_registry import Fault

from .fake_cache import FakeCache, fake_cache
from .reaching import open_sample
from .sample_cache import APP, COMPRESSORS, LIBC, LINK, SCRIPT, Sample

GROUPS = ((LIBC,), (SCRIPT, LINK), (APP,))
RULES = (PermissionRule(regex=".*/bin/.*", uid=7, mode=0o4755),)


def layers(closure: Sample, store: LocalStore | Stores, **changes: object) -> list[StoreLayer]:
    infos = closure.closure
    return [
        StoreLayer(
            paths=paths,
            store=store,
            nar_hashes=tuple(infos[path].nar_hash for path in paths),
            nar_size=sum(infos[path].nar_size for path in paths),
            **changes,  # type: ignore[arg-type]
        )
        for paths in GROUPS
    ]


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("cores", [1, 2])
def test_digests_are_those_of_the_local_store(
    closure: Sample, tmp_path: Path, compression: str, cores: int
) -> None:
    local = layers(closure, LocalStore(str(closure.root)))
    with fake_cache(closure.cache(tmp_path / "cache", compression)) as fake:
        remote = layers(closure, open_sample(fake.url))
        assert [layer.key for layer in remote] == [layer.key for layer in local]
        assert all(layer.is_remote for layer in remote)
        assert not any(layer.is_remote for layer in local)
        packed = pack_all(remote, None, Compression.GZIP, cores)
        assert packed == pack_all(local, None, Compression.GZIP, cores)
        assert len(fake.requests(path=r"\.nar")) == 4 + 4


@pytest.mark.parametrize("listings", [True, False])
@pytest.mark.parametrize("perms", [(), RULES])
def test_sizes_are_known_before_and_from_listings(
    closure: Sample, tmp_path: Path, listings: bool, perms: tuple[PermissionRule, ...]
) -> None:
    local = layers(closure, LocalStore(str(closure.root)), perms=perms)
    with fake_cache(closure.cache(tmp_path / "cache", listings=listings)) as fake:
        remote = layers(closure, open_sample(fake.url), perms=perms)
        for one, other in zip(local, remote, strict=True):
            sized = other.sized(())
            assert sized.size == one.sized(()).size
            out, expected = io.BytesIO(), io.BytesIO()
            sized.write_to(out.write)
            one.sized(()).write_to(expected.write)
            assert out.getvalue() == expected.getvalue()
            assert sized.size == len(out.getvalue())
        nars = fake.requests(path=r"\.nar\.")
        assert len(nars) == (4 if listings else 8)


@pytest.mark.parametrize(
    ("status", "encoding", "body"),
    [
        (200, "br", COMPRESSORS["br"](b"{}")),
        (200, "gzip", b"no gzip"),
        (200, "compress", b"{}"),
        (400, "identity", b""),
    ],
)
def test_the_nar_is_read_where_a_listing_can_t_be(
    closure: Sample,
    tmp_path: Path,
    status: int,
    encoding: str,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The listings of cache.nixos.org are in Brotli, for which there need be no library."""
    monkeypatch.setitem(sys.modules, "brotli", None)
    expected = list(LocalStore(str(closure.root)).listing(APP))
    with fake_cache(closure.cache(tmp_path / "cache", listings=True)) as fake:
        headers = {"Content-Encoding": encoding}
        fake.faults = [Fault(path=r"\.ls", status=status, headers=headers, body=body)]
        found = list(open_sample(fake.url).listing(APP))
    assert [(each.name, each.size) for each in found] == [
        (each.name, each.size) for each in expected
    ]


def test_a_listing_that_is_wrong_is_noticed(closure: Sample, tmp_path: Path) -> None:
    directory = closure.cache(tmp_path / "cache", listings=True)
    listing = directory / f"{SCRIPT.hash_part}.ls"
    document = orjson.loads(listing.read_bytes())
    document["root"]["size"] = 100_000
    listing.write_bytes(orjson.dumps(document))
    with fake_cache(directory) as fake:
        layer = layers(closure, open_sample(fake.url))[1]
        with pytest.raises(StoreError, match=r"the listing of .* is not that of its NAR"):
            layer.sized(()).write_to(lambda _: None)


def test_a_single_layer(closure: Sample, fake: FakeCache, tmp_path: Path) -> None:
    top = tmp_path / "layer.tar"
    top.write_bytes(bytes(10240))
    tar = TarLayer(top, sha256_digest(top.read_bytes()), layers(closure, LocalStore())[0].history)
    both = [
        SingleLayer(tar, layers(closure, store)[0])
        for store in (LocalStore(str(closure.root)), open_sample(fake.url))
    ]
    outs = [io.BytesIO(), io.BytesIO()]
    for layer, out in zip(both, outs, strict=True):
        sized = layer.sized(())
        sized.write_to(out.write)
        assert sized.size == len(out.getvalue())
        assert layer.pack(None).diff_id == sha256_digest(out.getvalue())
    assert outs[0].getvalue() == outs[1].getvalue()


def test_a_nar_that_is_not_as_promised_makes_no_layer(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    file = fake.directory / f"nar/{SCRIPT.hash_part}.nar.xz"
    file.write_bytes(COMPRESSORS["xz"](closure.nars[SCRIPT].replace(b"/bin/sh", b"/bin/sx")))
    remote = layers(closure, open_sample(fake.url))
    target = tmp_path / "blobs"
    target.mkdir()
    with pytest.raises(CacheError, match="the hash of its NAR is"):
        pack_all(remote, target, Compression.NONE, 2)
    assert not any(file.stat().st_size == 10240 for file in target.glob("[0-9a-f]*"))
    written = io.BytesIO()
    with pytest.raises(CacheError, match="the hash of its NAR is"):
        remote[1].pack(written.write, Packing())
    good = io.BytesIO()
    layers(closure, LocalStore(str(closure.root)))[1].pack(good.write, Packing())
    assert len(written.getvalue()) < len(good.getvalue())


def test_another_nar_than_that_of_the_layer_is_refused(closure: Sample, fake: FakeCache) -> None:
    (layer, *_) = layers(closure, open_sample(fake.url))
    wrong = replace(layer, nar_hashes=(closure.closure[APP].nar_hash,))
    with pytest.raises(Exception, match="has it, but its NAR hash is sha256-"):
        wrong.pack(None)
