"""Writing an image: the same layers in every format."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nixdock.build.build import prepared_build
from nixdock.coding.libzstd import zstd
from nixdock.errors import InputError, NixdockError
from nixdock.layers.compression import Compression
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import Format
from nixdock.spec.reading import read_spec
from nixdock.write.image import stream_image, write_image
from tests.unit.forms import FORMS, STREAMS
from tests.unit.layers.blobs import Packed

SampleSpec = Callable[..., Path]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the variables that would change the image."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def written(
    spec: Path, target: Path, form: Format, compression: Compression = Compression.NONE
) -> Image:
    with prepared_build(read_spec(spec)) as build:
        return write_image(build, target, form, compression)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def files(target: Path) -> dict[str, bytes]:
    """Return the files of an image in any format; decompress an archive first."""
    if target.is_dir():
        found = [path for path in target.rglob("*") if path.is_file()]
        return {str(path.relative_to(target)): path.read_bytes() for path in found}
    data = target.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    elif data.startswith(b"\x28\xb5\x2f\xfd"):
        data = zstd.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return {m.name: stream.read() for m in tar if (stream := tar.extractfile(m))}


def uncompressed(data: bytes, media_type: str) -> bytes:
    if media_type.endswith("+gzip"):
        return gzip.decompress(data)
    return zstd.decompress(data) if media_type.endswith("+zstd") else data


@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_every_form_holds_the_same_layers(
    sample_spec: SampleSpec, tmp_path: Path, form: Format, compression: Compression
) -> None:
    spec = sample_spec(tmp_path)
    with prepared_build(read_spec(spec)) as build:
        expected = stream_image(build, lambda data: None)
        (tmp_path / "out").mkdir()
        reported: dict[int, LayerBlob] = {}
        progress = Packed(reported.__setitem__)
        image = write_image(build, tmp_path / "out" / "x", form, compression, progress)
    diff_ids = [layer.diff_id for layer in image.layers]
    is_same = diff_ids == [layer.diff_id for layer in expected.layers]
    assert is_same == compression.keeps_tar == (image.config.digest == expected.config.digest)
    assert sorted(reported) == list(range(len(image.layers)))
    assert [reported[i].digest for i in sorted(reported)] == [each.digest for each in image.layers]
    assert os.listdir(tmp_path / "out") == ["x"]

    found = files(tmp_path / "out" / "x")
    if form in {Format.ARCHIVE, Format.DOCKER_ARCHIVE}:
        (entry,) = json.loads(found["manifest.json"])
        assert digest(found[entry["Config"]]) == image.config.digest
        assert [digest(found[name]) for name in entry["Layers"]] == [
            layer.digest for layer in image.layers
        ]
    if form is not Format.DOCKER_ARCHIVE:
        (listed,) = json.loads(found["index.json"])["manifests"]
        manifest = json.loads(found[f"blobs/sha256/{listed['digest'][7:]}"])
        assert listed["digest"] == image.manifest.digest
        tars = []
        for layer in manifest["layers"]:
            blob = found[f"blobs/sha256/{layer['digest'][7:]}"]
            assert (digest(blob), len(blob)) == (layer["digest"], layer["size"])
            tars.append(uncompressed(blob, layer["mediaType"]))
        assert [digest(tar) for tar in tars] == [layer.diff_id for layer in image.layers]
    assert ("manifest.json" in found) == (form in {Format.ARCHIVE, Format.DOCKER_ARCHIVE})


def test_the_default_archive_begins_with_its_descriptions(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    written(sample_spec(tmp_path), tmp_path / "x.tar", Format.ARCHIVE)
    assert list(files(tmp_path / "x.tar"))[:3] == ["oci-layout", "index.json", "manifest.json"]


def test_a_docker_archive_is_compressed_as_a_whole(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    for compression in STREAMS:
        written(spec, tmp_path / str(compression), Format.DOCKER_ARCHIVE, compression)
    plain = (tmp_path / "none").read_bytes()
    assert gzip.decompress((tmp_path / "gzip").read_bytes()) == plain
    assert zstd.decompress((tmp_path / "zstd").read_bytes()) == plain


@pytest.mark.parametrize("compression", [Compression.ZSTD_CHUNKED, Compression.ESTARGZ])
def test_a_docker_archive_can_not_be_fetched_in_part(
    sample_spec: SampleSpec, tmp_path: Path, compression: Compression
) -> None:
    spec = sample_spec(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=f"{compression} is for layers, not for whole files"):
        written(spec, tmp_path / "out" / "x", Format.DOCKER_ARCHIVE, compression)
    assert os.listdir(tmp_path / "out") == []


def test_a_stream_is_a_docker_archive(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    image = written(spec, tmp_path / "x.tar", Format.DOCKER_ARCHIVE)
    out = io.BytesIO()
    with prepared_build(read_spec(spec)) as build:
        streamed = stream_image(build, out.write)
    assert out.getvalue() == (tmp_path / "x.tar").read_bytes()
    assert streamed.config.digest == image.config.digest


def test_the_store_keeps_its_order_under_the_top_layer(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    image = written(sample_spec(tmp_path), tmp_path / "x", Format.OCI_LAYOUT)
    history = json.loads(image.config.data)["history"]
    assert [entry["comment"] for entry in history] == [
        "1 store path: libc",
        "1 store path: link",
        "1 store path: script",
        "1 store path: app",
        "the image's own files",
    ]
    creators = ["libc", "link", "script", "app", "the image's own files"]
    assert [entry["created_by"] for entry in history] == [f"nixdock: {name}" for name in creators]


@pytest.mark.parametrize("form", list(Format))
def test_nothing_is_left_after_an_error(
    sample_spec: SampleSpec, tmp_path: Path, form: Format
) -> None:
    spec = sample_spec(tmp_path)
    (tmp_path / f"root/nix/store/{'d' * 32}-app/bin/app").unlink()
    (tmp_path / f"root/nix/store/{'d' * 32}-app/bin").chmod(0o755)
    os.mknod(tmp_path / f"root/nix/store/{'d' * 32}-app/bin/app", 0o140600)
    (tmp_path / "out").mkdir()
    with pytest.raises(NixdockError, match=r"bin/app is a device or a socket"):
        written(spec, tmp_path / "out" / "x", form)
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("form", [f for f in Format if f is not Format.OCI_LAYOUT])
def test_an_earlier_file_is_replaced(sample_spec: SampleSpec, tmp_path: Path, form: Format) -> None:
    (tmp_path / "x").write_text("old")
    written(sample_spec(tmp_path), tmp_path / "x", form)
    assert files(tmp_path / "x")


# These must never change: they are the digests of images that exist.
@pytest.mark.parametrize(
    ("default_annotations", "manifest", "file"),
    [
        (
            True,
            "sha256:22ec5ae798a3c46cff97686c34335d80b3ffe38d3391edea5558a92afeb84440",
            "sha256:70ac54bfd78ad50878ef6b97e91a3f01e1e1363986f8abb39a3516aa0c938239",
        ),
        (
            False,
            "sha256:24a7d1b9c4afbf77f0833fb4533a0b88bf3d8b03c36dd388a9d84bda3270a3b8",
            "sha256:6a4d6a086f98bbc473e728e70f2003f3aa05729ca914482e09c6f256bbb29a14",
        ),
    ],
)
def test_digests(
    sample_spec: SampleSpec, tmp_path: Path, default_annotations: bool, manifest: str, file: str
) -> None:
    spec = sample_spec(tmp_path, default_annotations=default_annotations)
    image = written(spec, tmp_path / "x", Format.OCI_LAYOUT)
    assert (
        image.config.digest
        == "sha256:5cdea9d9f412ac652885f37ad523814727d851419d51c062d6990cd7273d4e09"
    )
    assert image.manifest.digest == manifest
    archive = written(spec, tmp_path / "y", Format.ARCHIVE)
    assert archive.manifest.digest == image.manifest.digest
    assert digest((tmp_path / "y").read_bytes()) == file
