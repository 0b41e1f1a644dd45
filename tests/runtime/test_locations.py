"""Commands on images that skopeo pushed to a real registry, and what they fetch from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nixdock.cli import main

from .oci_tools import Skopeo
from .registry import Registry
from .tiny_image import TinyImage

pytestmark = pytest.mark.runtime

Write = Callable[..., Path]
Push = Callable[..., str]


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def spec(tmp_path: Path, sample_spec: Write) -> Path:
    return sample_spec(tmp_path, layering={"strategy": "stable"})


@pytest.fixture
def layout(spec: Path) -> Path:
    """An OCI layout of five layers, compressed with gzip."""
    target = spec.parent / "layout"
    output("build", spec, "-q", "--format", "oci-layout", "-o", target)
    return target


@pytest.fixture
def push(skopeo: Skopeo, registry: Registry, repository: str) -> Push:
    """Give a function that pushes an image under a tag and returns its location."""

    def push(source: str, tag: str, *flags: str) -> str:
        location = f"docker://{registry.reference(repository, tag)}"
        skopeo.copy(source, location, *flags, preserve_digests=not flags)
        return location

    return push


def manifest_of(layout: Path) -> tuple[str, dict[str, Any]]:
    """Return the digest of a layout's manifest, and the manifest."""
    (descriptor,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    hex_digits = descriptor["digest"].removeprefix("sha256:")
    return descriptor["digest"], json.loads((layout / "blobs/sha256" / hex_digits).read_bytes())


def test_inspect_and_verify(layout: Path, push: Push, registry: Registry, repository: str) -> None:
    location = push(f"oci:{layout}", "v1")
    digest, manifest = manifest_of(layout)
    before = len(registry.downloads(repository))
    quick = json.loads(output("inspect", location, "--quick", "--json"))
    fetched = registry.downloads(repository)[before:]
    assert [name for name, _ in fetched] == ["v1", manifest["config"]["digest"]]
    assert quick["format"] == "registry"
    (image,) = quick["images"]
    assert (image["digest"], image["tags"]) == (digest, [location.removeprefix("docker://")])
    (image,) = json.loads(output("inspect", location, "--json"))["images"]
    (expected,) = json.loads(output("inspect", layout, "--json"))["images"]
    assert image["layers"] == expected["layers"]
    assert output("verify", location).startswith("ok: registry, 1 image, 5 layers, ")


def test_an_image_as_docker_pushes_it(layout: Path, push: Push, tmp_path: Path) -> None:
    """In the formats of Docker, too, the layers are the same."""
    docker = push(f"oci:{layout}", "v1", "--format", "v2s2")
    assert output("verify", docker).startswith("ok: registry, 1 image, 5 layers, ")
    for place, target in ((docker, "one.tar"), (str(layout), "other.tar")):
        output("export", place, "-o", tmp_path / target)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_a_foreign_image(push: Push, tiny_archive: TinyImage, tmp_path: Path) -> None:
    location = push(f"oci:{tiny_archive.layout}", "v1")
    assert output("verify", location).startswith("ok: registry, 1 image, 1 layer, ")
    output("merge", location, f"oci:{tiny_archive.layout}", "-o", tmp_path / "merged.tar")
    report = json.loads(output("inspect", tmp_path / "merged.tar", "--json"))
    assert {image["config_digest"] for image in report["images"]} == {tiny_archive.config_digest}


def test_a_previous_image_takes_two_requests(
    layout: Path, push: Push, registry: Registry, repository: str, tmp_path: Path
) -> None:
    location = push(f"oci:{layout}", "v1")
    digest, manifest = manifest_of(layout)
    before = len(registry.requests(repository))
    found = output("plan", tmp_path / "graph.json", "--previous", location, "--json")
    registry.downloads(repository)
    assert len(registry.requests(repository)) - before == 2
    assert found == output("plan", tmp_path / "graph.json", "--previous", layout, "--json")
    pinned = f"{location.rpartition(':')[0]}@{digest}"
    before = len(registry.downloads(repository))
    output("plan", tmp_path / "graph.json", "--previous", pinned)
    fetched = registry.downloads(repository)[before:]
    assert fetched == [
        (digest, json.loads((layout / "index.json").read_bytes())["manifests"][0]["size"]),
        (manifest["config"]["digest"], manifest["config"]["size"]),
    ]


def test_a_diff_reads_no_layer(
    layout: Path,
    push: Push,
    registry: Registry,
    repository: str,
    tmp_path: Path,
    sample_spec: Write,
) -> None:
    spec = sample_spec(tmp_path, layering={"strategy": "stable"}, extra_commands="touch new")
    output("build", spec, "-q", "--format", "oci-layout", "-o", tmp_path / "other")
    old, new = push(f"oci:{layout}", "v1"), push(f"oci:{tmp_path / 'other'}", "v2")
    configs = [manifest_of(each)[1]["config"]["digest"] for each in (layout, tmp_path / "other")]
    before = len(registry.downloads(repository))
    found = json.loads(output("diff", old, new, "--json"))
    fetched = registry.downloads(repository)[before:]
    assert [name for name, _ in fetched] == ["v1", configs[0], "v2", configs[1]]
    expected = json.loads(output("diff", layout, tmp_path / "other", "--json"))
    assert found["transfers"] == expected["transfers"]
    assert found["paths"] == expected["paths"]


def test_a_base_is_fetched_once_and_pinned(
    layout: Path,
    push: Push,
    registry: Registry,
    repository: str,
    tmp_path: Path,
    sample_spec: Write,
) -> None:
    location = push(f"oci:{layout}", "v1")
    digest, manifest = manifest_of(layout)
    sizes = {layer["digest"]: layer["size"] for layer in manifest["layers"]}
    images: list[bytes] = []
    for base in (location, f"oci:{layout}"):
        from_image = {"path": base}
        if base is not location:
            # What the other base says by itself: the image's annotations tell where it comes from.
            from_image["reference"] = location.removeprefix("docker://")
        spec = sample_spec(tmp_path, from_image=from_image, extra_commands="touch new")
        before = len(registry.downloads(repository))
        output("build", spec, "-q", "-o", tmp_path / "image.tar")
        images.append((tmp_path / "image.tar").read_bytes())
        fetched = registry.downloads(repository)[before:]
        # Beside the layers themselves, only the bytes that show their compression are fetched.
        whole = [(name, size) for name, size in fetched if size == sizes.get(name)]
        assert whole == [] if base.startswith("oci:") else dict(whole) == sizes
        assert len(whole) == len({*whole})
        starts = [size for name, size in fetched if name in sizes and size != sizes[name]]
        assert all(size < 64 for size in starts)
    assert images[0] == images[1]
    spec = sample_spec(tmp_path, from_image={"path": location}, extra_commands="touch new")
    output("resolve", spec, "-o", tmp_path / "resolved.json")
    pinned = json.loads((tmp_path / "resolved.json").read_bytes())["from_image"]["path"]
    assert pinned == f"{location}@{digest}"
    output("build", tmp_path / "resolved.json", "-q", "-o", tmp_path / "image.tar")
    assert (tmp_path / "image.tar").read_bytes() == images[0]


def test_a_database_of_a_base_in_a_registry(push: Push, tmp_path: Path, sample_spec: Write) -> None:
    spec = sample_spec(tmp_path, nix_db=True)
    output("build", spec, "-q", "--format", "oci-layout", "-o", tmp_path / "base")
    location = push(f"oci:{tmp_path / 'base'}", "v1")
    graph = tmp_path / "graph.json"
    for base, target in ((location, "one"), (str(tmp_path / "base"), "other")):
        output("db", graph, "--base", base, "-o", tmp_path / target)
    databases = [tmp_path / each / "nix/var/nix/db/db.sqlite" for each in ("one", "other")]
    assert databases[0].read_bytes() == databases[1].read_bytes()
