"""The legacy docker-archive: the files of both the old and the new format."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from nixdock.build.build import prepared_build
from nixdock.face.images import verify_image
from nixdock.layers.compression import Compression
from nixdock.oci.layout import Format
from nixdock.oci.legacy import legacy_documents, legacy_ids
from nixdock.spec.reading import read_spec
from nixdock.write.image import write_image
from tests.unit.docker_archive import archive, layer

DIFF_IDS = [f"sha256:{digit * 64}" for digit in "abc"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A legacy archive of three base layers, two of them equal, and a top layer."""
    lower = layer(("x", "1"))
    base = archive(tmp_path / "base.tar", [lower, layer(("y", "2")), lower])
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "version": 1,
                "name": "Host/Name",
                "tag": "T",
                "extra_tags": ["U", "other:T"],
                "from_image": {"path": str(base)},
                "extra_commands": "echo z > z",
                "config": {"Cmd": ["x"]},
            }
        )
    )
    target = tmp_path / "image.tar"
    with prepared_build(read_spec(spec)) as build:
        write_image(build, target, Format.DOCKER_ARCHIVE, Compression.NONE, legacy=True)
    return target


def test_the_files_of_both_formats(image: Path) -> None:
    assert verify_image(image).problems == ()
    with tarfile.open(image) as tar:
        files = {
            name: data.read()
            for name in tar.getnames()
            if (data := tar.extractfile(name)) is not None
        }
    manifest = json.loads(files["manifest.json"])[0]
    ids = [name.removesuffix("/layer.tar") for name in manifest["Layers"]]
    assert len(set(ids)) == 4, "the same layer on another one has another ID"
    assert json.loads(files["repositories"]) == {
        "host/name": {"T": ids[-1], "U": ids[-1]},
        "other": {"T": ids[-1]},
    }
    for parent, name in zip([None, *ids], ids, strict=False):
        assert files[f"{name}/VERSION"] == b"1.0"
        document = json.loads(files[f"{name}/json"])
        assert document["id"] == name
        assert document.get("parent") == parent
    assert json.loads(files[f"{ids[-1]}/json"])["config"] == {"Cmd": ["x"]}
    assert files[f"{ids[0]}/layer.tar"] == layer(("x", "1"))


def test_it_is_reproducible_and_has_the_layers_of_the_plain_one(image: Path) -> None:
    spec = read_spec(image.parent / "spec.json")
    again = image.parent / "again.tar"
    plain = image.parent / "plain.tar"
    with prepared_build(spec) as build:
        write_image(build, again, Format.DOCKER_ARCHIVE, Compression.NONE, legacy=True)
    with prepared_build(spec) as build:
        digest = write_image(build, plain, Format.DOCKER_ARCHIVE, Compression.NONE).config.digest
    assert again.read_bytes() == image.read_bytes()
    with tarfile.open(image) as tar:
        assert f"{digest[7:]}.json" in tar.getnames()


def test_an_id_depends_on_a_layer_and_all_layers_below_it() -> None:
    ids = legacy_ids(DIFF_IDS)
    assert len(set(ids)) == 3
    assert legacy_ids(DIFF_IDS[:2]) == ids[:2]
    assert legacy_ids([*DIFF_IDS[1:]])[0] not in ids
    assert all(len(name) == 64 for name in ids)


def test_documents_of_no_layers() -> None:
    assert legacy_documents([], {}) == {}
