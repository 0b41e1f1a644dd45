"""Opening images that nixdock and other tools wrote: the same in every format, and verified."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nixdock import copy_image
from nixdock.cli import main
from nixdock.errors import ImageError
from nixdock.face.images import verify_image
from nixdock.layers.compression import COMPRESSIONS, Compression
from nixdock.oci.layout import Format
from nixdock.read.opening import open_image
from nixdock.read.report import inspect_images

from ..forms import FORMS
from ..image_schemas import SCHEMAS, schema_errors

DEBIANS_SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
STORE_PATHS = [
    f"/nix/store/{letter * 32}-{name}"
    for letter, name in zip("abcd", ("libc", "script", "link", "app"), strict=True)
]

Write = Callable[..., Path]
Build = Callable[[Format, Compression], Path]


@pytest.fixture
def build(tmp_path: Path, sample_spec: Write) -> Build:
    """Return a function that builds the sample image in a format and compression."""
    spec = sample_spec(tmp_path)

    def run(form: Format, compression: Compression) -> Path:
        target = tmp_path / f"{form}-{compression}"
        args = ["build", str(spec), "-q", "--format", form.value]
        args += ["--compression", str(compression), "-o", str(target)]
        main.main(args, standalone_mode=False)
        return target

    return run


def skopeo(*args: str) -> None:
    tool = shutil.which("skopeo")
    assert tool, "skopeo is missing: apt-get install skopeo"
    subprocess.run([tool, "--insecure-policy", "copy", "-q", *args], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_every_form_is_read_back(build: Build, form: Format, compression: Compression) -> None:
    path = build(form, compression)
    found = verify_image(path)
    assert found.problems == ()
    assert (found.format, found.images, found.layers) == (form, 1, 5)
    with open_image(path) as file:
        assert file.format is form
        (image,) = file.images
        assert image.names == ("x/y:v1",)
        assert image.config.config == {"Cmd": ["/bin/app"]}
        assert (image.config.architecture, image.config.os) == ("amd64", "linux")
        assert (image.digest is None) == (form is Format.DOCKER_ARCHIVE)
        for layer in image.layers:
            with layer.open() as stream:
                data = stream.read()
            assert len(data) == layer.size
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.digest
        for layer in image.layers:
            with layer.open_tar() as stream:
                data = stream.read()
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.diff_id
        (report,) = inspect_images(file).images
    assert sorted(path for layer in report.layers for path in layer.store_paths) == STORE_PATHS
    assert report.layers[-1].store_paths == ()
    assert report.layers[-1].comment == "the image's own files"


def test_all_forms_hold_the_same(build: Build) -> None:
    configs, diff_ids, digests = set(), set(), set()
    for form in Format:
        with open_image(build(form, Compression.NONE)) as file:
            (image,) = file.images
            configs.add(image.config_digest)
            diff_ids.add(tuple(layer.diff_id for layer in image.layers))
            digests.add(tuple(layer.digest for layer in image.layers))
    assert len(configs) == len(diff_ids) == len(digests) == 1
    assert diff_ids == digests


@pytest.mark.tools
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_what_skopeo_makes_of_it(tmp_path: Path, build: Build, compression: Compression) -> None:
    source = f"oci-archive:{build(Format.ARCHIVE, compression)}"
    names = {"docker-archive": "a/b:v2", "oci-archive": "v2", "oci": "v2"}
    with open_image(tmp_path / f"archive-{compression}") as file:
        expected = [layer.diff_id for layer in file.images[0].layers]
    for transport, name in names.items():
        target = tmp_path / f"skopeo-{transport}"
        skopeo(source, f"{transport}:{target}:{name}")
        assert verify_image(target).problems == ()
        with open_image(target) as file:
            (image,) = file.images
            assert [layer.diff_id for layer in image.layers] == expected
            assert image.names == (name,)


@pytest.mark.tools
def test_two_images_in_a_layout(tmp_path: Path, build: Build) -> None:
    first = f"docker-archive:{build(Format.DOCKER_ARCHIVE, Compression.NONE)}"
    second = f"oci-archive:{build(Format.ARCHIVE, Compression.GZIP)}"
    for source, tag in ((first, "one"), (second, "two"), (first, "again")):
        skopeo(source, f"oci:{tmp_path / 'layout'}:{tag}")
    found = verify_image(tmp_path / "layout")
    assert found.problems == ()
    assert found.images == 2
    with open_image(tmp_path / "layout") as file:
        assert [image.names for image in file.images] == [("one", "again"), ("two",)]


@pytest.mark.parametrize("order", [1, -1])
def test_an_image_whose_platform_only_one_entry_states(
    tmp_path: Path, build: Build, order: int
) -> None:
    """skopeo and nixdock may both have named it."""
    layout = tmp_path / "layout"
    copy_image(str(build(Format.ARCHIVE, Compression.GZIP)), f"oci:{layout}")
    index = json.loads((layout / "index.json").read_bytes())
    (entry,) = index["manifests"]
    named = {"org.opencontainers.image.ref.name": "two"}
    other = {key: entry[key] for key in ("mediaType", "digest", "size")} | {"annotations": named}
    index["manifests"] = [entry, other][::order]
    (layout / "index.json").write_text(json.dumps(index))
    found = verify_image(layout)
    assert (found.problems, found.images) == ((), 1)
    with open_image(layout) as file:
        (image,) = file.images
    assert sorted(image.names) == ["two", "x/y:v1"]
    assert image.declared_platform is not None


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_archives_that_are_compressed_as_a_whole(
    tmp_path: Path, build: Build, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "image"
    path.write_bytes(compress(build(Format.ARCHIVE, Compression.NONE).read_bytes()))
    assert verify_image(path).problems == ()


def test_an_archive_from_a_pipe(tmp_path: Path, build: Build) -> None:
    data = build(Format.DOCKER_ARCHIVE, Compression.GZIP).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert verify_image(pipe).problems == ()
    writer.join()


def test_an_unpacked_docker_archive(tmp_path: Path, build: Build) -> None:
    (tmp_path / "unpacked").mkdir()
    archive = build(Format.DOCKER_ARCHIVE, Compression.NONE)
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path / "unpacked"], check=True)
    found = verify_image(tmp_path / "unpacked")
    assert (found.format, found.problems) == (Format.DOCKER_ARCHIVE, ())


def test_wrong_bytes_are_never_the_end_of_a_layer(build: Build) -> None:
    path = build(Format.OCI_LAYOUT, Compression.NONE)
    with open_image(path) as file:
        layer = file.images[0].layers[0]
        blob = path / layer.name
        data = blob.read_bytes()
        for wrong, message in (
            (data[:-1] + b"x", "is damaged: its digest is"),
            (data[:-1], "bytes, but should have"),
            (data + b"x", "more than the"),
        ):
            blob.chmod(0o644)
            blob.write_bytes(wrong)
            with layer.open() as stream, pytest.raises(ImageError, match=message):
                stream.read()
            with layer.open_tar() as stream, pytest.raises(ImageError, match=message):
                stream.read()


def test_the_store_may_be_elsewhere(tmp_path: Path) -> None:
    from nixdock.read.contents import read_contents

    file = tmp_path / "layer.tar"
    base = f"{'0' * 32}-x"
    with tarfile.open(file, "w") as archive:
        for name in (f"./gnu/store/{base}", f"gnu/store/{base}/bin/{base}/y", f"{base}", "nix/x"):
            archive.addfile(tarfile.TarInfo(name))
    with file.open("rb") as stream:
        assert read_contents(stream).store_paths == (f"/gnu/store/{base}",)


@pytest.mark.skipif(not DEBIANS_SCHEMAS.is_dir(), reason="Debian's copy is not installed")
def test_the_schemas_are_those_of_debian() -> None:
    for file in SCHEMAS.glob("*.json"):
        assert json.loads(file.read_text()) == json.loads((DEBIANS_SCHEMAS / file.name).read_text())


@pytest.mark.slow
@pytest.mark.parametrize("form", [Format.OCI_LAYOUT, Format.OCI_ARCHIVE, Format.ARCHIVE])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_documents_fit_the_schemas(build: Build, form: Format, compression: Compression) -> None:
    with open_image(build(form, compression)) as file:
        documents = {
            "image-layout-schema.json": file.members.open("oci-layout"),
            "image-index-schema.json": file.members.open("index.json"),
        }
        for schema, stream in documents.items():
            with stream:
                assert schema_errors(schema, json.loads(stream.read() or b"")) == []
        for image in file.images:
            manifest = json.loads(image.manifest_data or b"")
            assert schema_errors("image-manifest-schema.json", manifest) == []
            assert schema_errors("config-schema.json", json.loads(image.config_data)) == []


def test_the_schemas_do_find_errors() -> None:
    assert schema_errors("image-manifest-schema.json", {"schemaVersion": 2, "layers": [{}]})
    assert schema_errors("config-schema.json", {"os": "linux"})
    descriptor = {"mediaType": "x", "digest": "no", "size": 1}
    assert schema_errors("image-index-schema.json", {"schemaVersion": 2, "manifests": [descriptor]})
