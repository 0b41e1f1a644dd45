"""Whatever reads a damaged layer says in which image it is, also if several images are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .program import run

FORMATS = {"layout": "oci-layout", "oci.tar": "oci-archive", "docker.tar": "docker-archive"}


@pytest.fixture(scope="module")
def images(
    tmp_path_factory: pytest.TempPathFactory, sample_spec: Callable[..., Path]
) -> dict[str, Path]:
    """The same image in each format, damaged in a layer of store paths, and a `whole` one."""
    directory = tmp_path_factory.mktemp("images")
    spec = sample_spec(directory, layering={"strategy": "stable"})
    found = {}
    for name, form in FORMATS.items():
        found[name] = build(spec, directory / name, form)
    found["whole"] = build(spec, directory / "whole.tar", "archive")
    layout = found["layout"]
    (index,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    manifest = json.loads(blob(layout, index["digest"]).read_bytes())
    layer = blob(layout, manifest["layers"][1]["digest"])
    content = layer.read_bytes()
    for file in (layer, found["oci.tar"], found["docker.tar"]):
        data = bytearray(file.read_bytes())
        # Whatever follows a name that fills a part of its field is ignored, but hashed.
        data[data.index(content[:512]) + 76] ^= 1
        file.write_bytes(data)
    return found


def build(spec: Path, output: Path, form: str) -> Path:
    options = ["--format", form, *([] if "docker" in form else ["--compression", "none"])]
    done = run("build", spec, "-o", output, "-q", *options)
    assert done.returncode == 0, done.stderr
    return output


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "command",
    [
        "inspect DAMAGED",
        "export DAMAGED -o OUT",
        "diff DAMAGED WHOLE",
        "diff WHOLE DAMAGED",
        "merge DAMAGED WHOLE -o OUT",
        "check --deny-path /x DAMAGED",
        "sbom DAMAGED",
    ],
)
def test_the_image_is_named(
    images: dict[str, Path], name: str, command: str, tmp_path: Path
) -> None:
    places = {"DAMAGED": images[name], "WHOLE": images["whole"], "OUT": tmp_path / "out"}
    done = run(*(places.get(word, word) for word in command.split()))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"error: %b: " % bytes(images[name]))
    assert done.stderr.count(bytes(images[name])) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_the_base_image_is_named(
    images: dict[str, Path], name: str, tmp_path: Path, sample_spec: Callable[..., Path]
) -> None:
    spec = sample_spec(tmp_path, from_image={"path": str(images[name])})
    done = run("build", spec, "-o", tmp_path / "out.tar", "-q")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: %b: " % bytes(images[name]))
    assert not (tmp_path / "out.tar").exists()
