"""The archive of an OCI layout, which can be a docker-archive at the same time."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.layers.compression import Compression
from nixdock.layers.pack import pack_all
from nixdock.layers.tree import TreeLayer
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.reference import Reference
from nixdock.tar.header import MemberMeta
from nixdock.write.archive import write_archive
from nixdock.write.buildable import PackInto


def assemble(layers: Sequence[LayerBlob]) -> Image:
    return Image.of(
        layers,
        references=[Reference.of("x/y", "v1")],
        platform=Platform(),
        container={},
        created="1970-01-01T00:00:01Z",
    )


@pytest.fixture
def pack_into(tmp_path: Path) -> PackInto:
    """Return a function that packs three layers, two of them equal."""
    for name in "ab":
        (tmp_path / "trees" / name).mkdir(parents=True)
        (tmp_path / "trees" / name / "file").write_bytes(os.urandom(30_000))
    trees = [TreeLayer(tmp_path / "trees" / name, MemberMeta()) for name in "aba"]
    return partial(pack_all, trees, compression=Compression.GZIP, cores=1)


def read(file: Path) -> dict[str, bytes]:
    """Return the files in an archive, in order."""
    with tarfile.open(file) as tar:
        return {m.name: stream.read() for m in tar if (stream := tar.extractfile(m))}


@pytest.mark.parametrize("docker", [True, False])
def test_documents_come_first_then_every_blob_once(
    tmp_path: Path, pack_into: PackInto, *, docker: bool
) -> None:
    target = tmp_path / "out" / "x.tar"
    target.parent.mkdir()
    image = write_archive(target, pack_into, assemble, docker=docker, mtime=77)
    with tarfile.open(target) as tar:
        members = tar.getmembers()
    first = ["oci-layout", "index.json", *(["manifest.json"] if docker else [])]
    digests = [image.manifest.digest, image.config.digest]
    digests += [layer.digest for layer in image.layers[:2]]
    names = [f"blobs/sha256/{digest.removeprefix('sha256:')}" for digest in digests]
    assert [member.name for member in members] == ["blobs", "blobs/sha256", *first, *names]
    # Readers that unpack the archive need not create a directory by themselves.
    assert {(m.mtime, m.mode, m.uid, m.gid, m.type) for m in members[:2]} == {
        (77, 0o755, 0, 0, tarfile.DIRTYPE)
    }
    assert {(m.mtime, m.mode, m.uid, m.gid, m.type) for m in members[2:]} == {
        (77, 0o444, 0, 0, tarfile.REGTYPE)
    }
    for name, data in read(target).items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    assert target.stat().st_size % tarfile.RECORDSIZE == 0
    assert os.listdir(target.parent) == ["x.tar"]


def test_documents_refer_to_the_blobs(tmp_path: Path, pack_into: PackInto) -> None:
    image = write_archive(tmp_path / "x.tar", pack_into, assemble, docker=True, mtime=1)
    files = read(tmp_path / "x.tar")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert files["index.json"] == image.index()
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["x/y:v1"]
    assert files[entry["Config"]] == image.config.data
    assert [hashlib.sha256(files[name]).hexdigest() for name in entry["Layers"]] == [
        layer.digest.removeprefix("sha256:") for layer in image.layers
    ]


def test_no_file_after_an_error(tmp_path: Path, pack_into: PackInto) -> None:
    target = tmp_path / "out" / "x.tar"
    target.parent.mkdir()

    def fail(directory: Path) -> Sequence[LayerBlob]:
        pack_into(directory)
        raise PackError("a file vanished")

    with pytest.raises(PackError, match="vanished"):
        write_archive(target, fail, assemble, docker=True, mtime=1)
    assert os.listdir(target.parent) == []
