"""The OCI layout in a directory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from nixdock.errors import OutputError, PackError
from nixdock.layers.pack import pack_all
from nixdock.layers.tree import TreeLayer
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.reference import Reference
from nixdock.tar.header import MemberMeta
from nixdock.write.buildable import PackInto
from nixdock.write.oci_layout import write_oci_layout


def assemble(layers: Sequence[LayerBlob]) -> Image:
    return Image.of(
        layers,
        references=[Reference.of("x/y", "v1")],
        platform=Platform(),
        container={},
        created="1970-01-01T00:00:01Z",
    )


def packing(tree: Path, content: str) -> PackInto:
    """Return a function that packs two equal layers, of a tree of one file."""
    tree.mkdir()
    (tree / "file").write_text(content)
    return partial(pack_all, [TreeLayer(tree, MemberMeta())] * 2, cores=1)


def files(directory: Path) -> dict[str, bytes]:
    found = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_the_files_of_a_layout(tmp_path: Path) -> None:
    image = write_oci_layout(tmp_path / "out", packing(tmp_path / "t", "x"), assemble)
    found = files(tmp_path / "out")
    blobs = {image.config.digest, image.manifest.digest, image.layers[0].digest}
    expected = {f"blobs/sha256/{digest.removeprefix('sha256:')}" for digest in blobs}
    assert set(found) == {"oci-layout", "index.json", *expected}
    assert found["index.json"] == image.index()
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name in expected:
        assert name.rpartition("/")[2] == hashlib.sha256(found[name]).hexdigest()
    assert sorted(os.listdir(tmp_path)) == ["out", "t"]


def test_an_earlier_layout_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    first = write_oci_layout(target, packing(tmp_path / "1", "first"), assemble)
    second = write_oci_layout(target, packing(tmp_path / "2", "second"), assemble)
    names = set(files(target))
    assert f"blobs/sha256/{second.layers[0].digest[7:]}" in names
    assert f"blobs/sha256/{first.layers[0].digest[7:]}" not in names
    assert len(names) == 5
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "out"]


def test_a_foreign_directory_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").write_text("")

    def pack_into(directory: Path) -> Sequence[LayerBlob]:
        pytest.fail("nothing must be packed")

    with pytest.raises(OutputError, match="not an earlier output"):
        write_oci_layout(tmp_path / "out", pack_into, assemble)
    assert files(tmp_path) == {"out/thesis": b""}


def test_the_earlier_layout_stays_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_oci_layout(target, packing(tmp_path / "1", "first"), assemble)
    before = files(target)

    def fail(directory: Path) -> Sequence[LayerBlob]:
        (directory / "half").write_text("")
        raise PackError("a file vanished")

    with pytest.raises(PackError, match="vanished"):
        write_oci_layout(target, fail, assemble)
    assert files(target) == before
    assert sorted(os.listdir(tmp_path)) == ["1", "out"]
