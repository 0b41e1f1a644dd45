"""Indexes that nixdock makes: other tools pick the image for their platform.

The image for arm64 is so by its config alone: it has the programs of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import nixdock
from nixdock import ImageIndex, Indexing

from .containerd import Containerd
from .engine import Docker, Engine, Podman
from .oci_tools import Skopeo, Umoci
from .registry import Registry
from .tiny_image import TinyImage, tiny_image

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

NAME = "tiny-index:v1"


@pytest.fixture(scope="module")
def images(
    tiny_archive: TinyImage, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, TinyImage]:
    """The image for each architecture."""
    foreign = tiny_image(tmp_path_factory.mktemp("foreign"), "arm64")
    return {"amd64": tiny_archive, "arm64": foreign}


@pytest.fixture
def pushed(
    images: Mapping[str, TinyImage], registry: Registry, repository: str
) -> tuple[str, ImageIndex]:
    """The reference of an index in the registry."""
    reference = registry.reference(repository, "v1")
    # The order of the arguments does not matter.
    layouts = [images["arm64"].layout, images["amd64"].layout]
    return reference, nixdock.push_index(layouts, [reference])


def config_of(engine: Engine, image: str) -> str:
    """The digest of an image's config, which these engines call its ID."""
    return f"sha256:{engine.inspect(image)['Id'].removeprefix('sha256:')}"


def test_the_registry_has_each_manifest_and_the_index(
    pushed: tuple[str, ImageIndex],
    images: Mapping[str, TinyImage],
    registry: Registry,
    repository: str,
    skopeo: Skopeo,
) -> None:
    reference, result = pushed
    assert skopeo.digest(f"docker://{reference}") == result.digest
    listed = json.loads(skopeo.manifest(f"docker://{reference}"))["manifests"]
    assert [each["digest"] for each in listed] == [
        images[architecture].manifest_digest for architecture in ("amd64", "arm64")
    ]
    puts = [
        line.partition("/manifests/")[2].partition('"')[0].partition(" ")[0]
        for line in registry.requests(repository)
        if "method=PUT" in line and "/manifests/" in line
    ]
    assert puts[-2:] == [result.digest, "v1"]
    assert set(puts[:-2]) == {image.manifest_digest for image in images.values()}
    # All of it can be copied by others: nothing is missing.
    copy = registry.reference(f"{repository}-copy", "v1")
    skopeo.copy(f"docker://{reference}", f"docker://{copy}", "--all")
    assert skopeo.digest(f"docker://{copy}") == result.digest


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_picks_a_platform(
    pushed: tuple[str, ImageIndex],
    images: Mapping[str, TinyImage],
    skopeo: Skopeo,
    tmp_path: Path,
    architecture: str,
) -> None:
    target = f"oci:{tmp_path}/copy:v1"
    skopeo.copy(f"docker://{pushed[0]}", target, f"--override-arch={architecture}")
    assert skopeo.digest(target) == images[architecture].manifest_digest


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_pull_their_platform(
    request: pytest.FixtureRequest,
    pushed: tuple[str, ImageIndex],
    images: Mapping[str, TinyImage],
    name: str,
) -> None:
    engine: Engine = request.getfixturevalue(name)
    reference, result = pushed
    pulled = engine.pull(reference)
    assert config_of(engine, pulled) == images["amd64"].config_digest
    assert engine.run(pulled).stdout == "hello\n"
    engine.rmi(pulled)
    # By digest, as deployments name it, and for another platform.
    pinned = f"{reference.rpartition(':')[0]}@{result.digest}"
    pulled = engine.pull(pinned, "--platform=linux/arm64")
    assert config_of(engine, pulled) == images["arm64"].config_digest
    engine.rmi(pulled)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_containerd_pulls_a_platform(
    pushed: tuple[str, ImageIndex],
    images: Mapping[str, TinyImage],
    containerd: Containerd,
    architecture: str,
) -> None:
    reference, result = pushed
    options = ["--plain-http", "--snapshotter", "native"]
    if architecture != "amd64":
        options += ["--platform", f"linux/{architecture}"]
    containerd("images", "pull", *options, reference)
    try:
        content = containerd("content", "ls", "--quiet").stdout.split()
        others = {image.config_digest for image in images.values()}
        assert result.digest in content
        assert others & set(content) == {images[architecture].config_digest}
        if architecture == "amd64":
            assert containerd.run(reference, f"index-{result.digest[7:19]}") == "hello\n"
    finally:
        containerd("images", "rm", "--sync", reference)


@pytest.fixture(params=["archive", "oci-archive", "oci-layout"])
def written(
    request: pytest.FixtureRequest, images: Mapping[str, TinyImage], tmp_path: Path
) -> tuple[str, Path]:
    """The format of an index in a file, and the file."""
    target = tmp_path / "index"
    layouts = [image.layout for image in images.values()]
    nixdock.build_index(layouts, target, Indexing(names=(NAME,)), form=request.param)
    return request.param, target


def test_readers_of_files_pick_a_platform(
    written: tuple[str, Path],
    images: Mapping[str, TinyImage],
    skopeo: Skopeo,
    umoci: Umoci,
    docker: Docker,
    podman: Podman,
    containerd: Containerd,
    tmp_path: Path,
) -> None:
    form, file = written
    transport = "oci" if form == "oci-layout" else "oci-archive"
    for architecture, image in images.items():
        copy = f"oci:{tmp_path}/{architecture}:v1"
        skopeo.copy(f"{transport}:{file}:v1", copy, f"--override-arch={architecture}")
        assert skopeo.digest(copy) == image.manifest_digest
        umoci.validate(tmp_path / architecture, "v1")
        pulled = podman.pull(f"{transport}:{file}:v1", f"--arch={architecture}")
        assert config_of(podman, pulled) == image.config_digest
        podman.rmi(pulled)
    if form == "oci-layout":
        return
    assert f"docker.io/library/{NAME}" in containerd.load(file)
    assert containerd.run(f"docker.io/library/{NAME}", f"file-{form}") == "hello\n"
    containerd("images", "rm", "--sync", f"docker.io/library/{NAME}")
    if form == "archive":
        # Docker knows no indexes in archives: it gets the image for linux/amd64.
        assert docker.load(file) == NAME
        assert config_of(docker, NAME) == images["amd64"].config_digest
        docker.rmi(NAME)
