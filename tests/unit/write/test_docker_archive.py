"""The docker-archive: written in one pass, with the documents after the layers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.layers.created import CreatedLayer, SizedTar
from nixdock.layers.layer import Layer
from nixdock.layers.tree import TreeLayer
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.reference import Reference
from nixdock.system.buffers import Write
from nixdock.tar.header import MemberMeta
from nixdock.write.docker_archive import write_docker_archive
from tests.unit.layers.blobs import Packed


def assemble(layers: Sequence[LayerBlob]) -> Image:
    return Image.of(
        layers,
        references=[Reference.of("x/y", "v1")],
        platform=Platform(),
        container={},
        created="1970-01-01T00:00:01Z",
    )


@pytest.fixture
def trees(tmp_path: Path) -> list[Layer]:
    """Three layers, two of them equal."""
    for name, size in (("a", 3_000_000), ("b", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(os.urandom(size))
    return [TreeLayer(tmp_path / name, MemberMeta()) for name in "aba"]


def tar_of(layer: Layer) -> bytes:
    out = io.BytesIO()
    layer.pack(out.write)
    return out.getvalue()


def test_members_and_their_order(trees: list[Layer]) -> None:
    out = io.BytesIO()
    reported: list[tuple[int, str]] = []
    image = write_docker_archive(
        out.write,
        trees,
        assemble,
        mtime=77,
        progress=Packed(lambda index, layer: reported.append((index, layer.digest))),
    )
    assert out.tell() % tarfile.RECORDSIZE == 0
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        members = tar.getmembers()
        contents = [file.read() for member in members if (file := tar.extractfile(member))]
    config = image.config.digest.removeprefix("sha256:")
    layers = [f"{i:03}/layer.tar" for i in range(3)]
    assert [member.name for member in members] == [*layers, f"{config}.json", "manifest.json"]
    assert {(m.mtime, m.mode, m.uid, m.gid, m.type) for m in members} == {
        (77, 0o444, 0, 0, tarfile.REGTYPE)
    }
    assert contents[:3] == [tar_of(tree) for tree in trees]
    digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    assert digests[3] == image.config.digest
    assert json.loads(contents[3])["rootfs"]["diff_ids"] == digests[:3]
    assert len(json.loads(contents[3])["history"]) == 3
    assert json.loads(contents[4]) == [
        {"Config": f"{config}.json", "RepoTags": ["x/y:v1"], "Layers": layers}
    ]
    assert reported == list(enumerate(digests[:3]))
    assert [(layer.diff_id, layer.digest) for layer in image.layers] == [
        (digest, digest) for digest in digests[:3]
    ]


def test_without_layers() -> None:
    out = io.BytesIO()
    write_docker_archive(out.write, [], assemble, mtime=1)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert [member.name for member in tar][1:] == ["manifest.json"]


class Wrong(CreatedLayer, frozen=True):
    """A layer whose tar does not have the declared size."""

    history: LayerHistory
    weight: int = 0

    def write_tar(self, write: Write) -> None:
        write(b"four")

    def measured_tar(self) -> SizedTar:
        return SizedTar(5, self.history, self.write_tar)


def test_a_tar_of_another_size() -> None:
    with pytest.raises(PackError, match="layer 0 has 4 bytes, but 5 were expected"):
        write_docker_archive(
            io.BytesIO().write, [Wrong(LayerHistory("a test", "wrong"))], assemble, mtime=1
        )


def test_errors_of_writing_are_passed_on(trees: list[Layer]) -> None:
    written = 0

    def write(data: memoryview | bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 1_000_000:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_docker_archive(write, trees, assemble, mtime=1)
