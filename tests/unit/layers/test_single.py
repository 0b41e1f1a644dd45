"""One layer for the whole image: two tars joined, without duplicate members."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.layers.layer import OWN_FILES_HISTORY
from nixdock.layers.pack import pack
from nixdock.layers.single import SingleLayer
from nixdock.layers.store import StoreLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.nix.store_path import StorePath
from nixdock.oci.digests import sha256_digest
from nixdock.oci.layer_blob import LayerHistory
from nixdock.stores.local import LocalStore
from nixdock.tar.header import MemberMeta
from tests.unit.docker_archive import directory, layer

PATH = StorePath(f"/nix/store/{'0' * 32}-x")


@pytest.fixture
def store(tmp_path: Path) -> StoreLayer:
    tree = Path(f"{tmp_path}{PATH}")
    tree.mkdir(parents=True)
    (tree / "f").write_text("x" * 3000)
    return StoreLayer((PATH,), MemberMeta(mtime=7), store=LocalStore(str(tmp_path)), nar_size=3000)


def single_layer(tmp_path: Path, store: StoreLayer, data: bytes) -> SingleLayer:
    file = tmp_path / "layer.tar"
    file.write_bytes(data)
    return SingleLayer(TarLayer(file, sha256_digest(data), OWN_FILES_HISTORY), store)


@pytest.mark.parametrize(
    "top",
    [
        [("a", "text")],
        [directory("nix"), directory("nix/store"), ("nix/x", "")],
        [directory(f"n{'ü' * 60}"), ("z" * 200, "long")],
        [],
    ],
)
def test_members_of_both(tmp_path: Path, store: StoreLayer, top: list[tuple[str, str]]) -> None:
    both = single_layer(tmp_path, store, layer(*top))
    out = io.BytesIO()
    both.pack(out.write)
    sized = both.sized(())
    measured = io.BytesIO()
    sized.write_to(measured.write)
    assert out.getvalue() == measured.getvalue()
    assert len(out.getvalue()) == sized.size
    assert sized.size % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = [name.strip("/") for name in tar.getnames()]
        data = tar.extractfile(f"{PATH}/f")
        assert data is not None
        assert data.read() == b"x" * 3000
        assert tar.getmember(f"{PATH}/f").mtime == 7
    assert len(set(names)) == len(names)
    assert {"nix", "nix/store", str(PATH)[1:]} <= set(names)
    assert pack(both).size == sized.size


def test_history_and_weight(tmp_path: Path, store: StoreLayer) -> None:
    both = single_layer(tmp_path, store, layer())
    assert both.history == LayerHistory(
        "nixdock: the image's own files and x", "the image's own files and 1 store path: x"
    )
    assert both.weight == 10240 + 3000


def test_a_top_layer_that_changed(tmp_path: Path, store: StoreLayer) -> None:
    both = single_layer(tmp_path, store, layer(("a", "text")))
    (tmp_path / "layer.tar").write_bytes(layer(("a", "tent")))
    with pytest.raises(PackError, match="has the digest"):
        pack(both)
