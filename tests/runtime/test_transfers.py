"""Images go between a real registry and files, and real tools read what arrives."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.oci.layout import Format

from .engine import Engine
from .oci_tools import Skopeo, Umoci
from .registry import Registry, local_registry
from .tiny_image import TinyImage

pytestmark = pytest.mark.runtime

# How skopeo names a file in each format.
TRANSPORTS = {
    Format.ARCHIVE: "oci-archive",
    Format.DOCKER_ARCHIVE: "docker-archive",
    Format.OCI_ARCHIVE: "oci-archive",
    Format.OCI_LAYOUT: "oci",
}
SENDING = ("PUT", "POST", "PATCH")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep parts of blobs with the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pushed(registry: Registry, repository: str, tiny_archive: TinyImage, skopeo: Skopeo) -> str:
    """The reference of an image that skopeo has pushed."""
    reference = registry.reference(repository, "v1")
    skopeo.copy(f"oci:{tiny_archive.layout}:{tiny_archive.tag}", f"docker://{reference}")
    return reference


@pytest.mark.parametrize("form", list(Format))
def test_what_is_pulled_is_what_skopeo_copies(
    pushed: str, skopeo: Skopeo, tiny_archive: TinyImage, tmp_path: Path, form: Format
) -> None:
    result = nixdock.pull_image(pushed, tmp_path / "ours", form=form)
    assert result.digest == tiny_archive.manifest_digest
    assert nixdock.verify_image(tmp_path / "ours", strict=True).problems == ()
    ours, theirs = (f"{TRANSPORTS[form]}:{tmp_path}/{name}" for name in ("ours", "theirs"))
    exact = form is not Format.DOCKER_ARCHIVE
    skopeo.copy(f"docker://{pushed}", f"{theirs}:x:v1", preserve_digests=exact)
    assert skopeo.config(ours) == skopeo.config(theirs)
    if exact:
        assert skopeo.digest(ours) == skopeo.digest(f"{theirs}:x:v1") == result.digest


def test_umoci_unpacks_a_pulled_layout(pushed: str, umoci: Umoci, tmp_path: Path) -> None:
    nixdock.pull_image(pushed, tmp_path / "layout", form="oci-layout")
    umoci.validate(tmp_path / "layout", "v1")


@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.DOCKER_ARCHIVE])
@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_load_and_run_what_is_pulled(
    request: pytest.FixtureRequest,
    pushed: str,
    tiny_archive: TinyImage,
    tmp_path: Path,
    name: str,
    form: Format,
) -> None:
    engine: Engine = request.getfixturevalue(name)
    nixdock.pull_image(pushed, tmp_path / "image.tar", form=form)
    image = engine.load(tmp_path / "image.tar")
    assert pushed in image
    assert tiny_archive.config_digest.endswith(engine.inspect(image)["Id"].removeprefix("sha256:"))
    assert engine.run(image).stdout == "hello\n"
    engine.rmi(image)


def test_blobs_are_mounted(
    registry: Registry, repository: str, pushed: str, tiny_archive: TinyImage, skopeo: Skopeo
) -> None:
    target = registry.reference(f"{repository}-copy", "v2")
    result = nixdock.copy_image(f"docker://{pushed}", f"docker://{target}")
    assert (result.count("mounted"), result.read) == (2, 0)
    assert skopeo.digest(f"docker://{target}") == tiny_archive.manifest_digest
    assert registry.downloads(f"{repository}-copy")[-1][0] == "v2"
    before = len(_sent(registry, f"{repository}-copy"))
    again = nixdock.copy_image(f"docker://{pushed}", f"docker://{target}")
    assert again.count("present") == 2
    assert registry.downloads(f"{repository}-copy")
    assert len(_sent(registry, f"{repository}-copy")) == before


def _sent(registry: Registry, repository: str) -> list[str]:
    requests = registry.requests(repository)
    return [line for line in requests if any(f"method={method}" in line for method in SENDING)]


@pytest.fixture(scope="module")
def other() -> Iterator[Registry]:
    """Another registry."""
    with local_registry() as server:
        yield server


def test_an_image_goes_around(
    registry: Registry,
    other: Registry,
    repository: str,
    pushed: str,
    tiny_archive: TinyImage,
    skopeo: Skopeo,
    tmp_path: Path,
) -> None:
    stations = [
        f"docker://{pushed}",
        f"docker://{other.reference(repository, 'streamed')}",
        f"oci:{tmp_path}/layout:v1",
        f"docker://{other.reference(f'{repository}-2', 'v1')}",
        f"oci-archive:{tmp_path}/archive.tar:v1",
        f"docker://{registry.reference(f'{repository}-3', 'v1')}",
    ]
    for source, target in itertools.pairwise(stations):
        assert nixdock.copy_image(source, target).digest == tiny_archive.manifest_digest
        if target.startswith("docker:"):
            assert skopeo.digest(target) == tiny_archive.manifest_digest
    # A docker-archive has no manifest, but the config stays.
    docker = f"docker-archive:{tmp_path}/docker.tar:a/b:c"
    nixdock.copy_image(stations[-1], docker)
    back = f"docker://{registry.reference(f'{repository}-4', 'v1')}"
    nixdock.copy_image(docker, back)
    assert skopeo.config(back) == skopeo.config(stations[0])


def _layout_of_platforms(directory: Path, image: TinyImage) -> str:
    """Write a layout whose tag v1 is an index for two platforms; return the index's digest."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for file in (image.layout / "blobs" / "sha256").iterdir():
        (blobs / file.name).write_bytes(file.read_bytes())

    def add(document: Any, kind: str, **more: Any) -> dict[str, Any]:
        data = json.dumps(document, indent=3).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        media_type = f"application/vnd.oci.image.{kind}.v1+json"
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data), **more}

    def read(digest: str) -> Any:
        return json.loads((blobs / digest.partition(":")[2]).read_bytes())

    entries = []
    for architecture in ("amd64", "arm64"):
        platform = {"architecture": architecture, "os": "linux"}
        config = add({**read(image.config_digest), **platform}, "config")
        manifest = {**read(image.manifest_digest), "config": config}
        entries.append(add(manifest, "manifest", platform=platform))
    media_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    top = add(index, "index", annotations={"org.opencontainers.image.ref.name": "v1"})
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({**index, "manifests": [top]}))
    digest: str = top["digest"]
    return digest


def test_an_index_keeps_its_digest(
    registry: Registry,
    repository: str,
    tiny_archive: TinyImage,
    skopeo: Skopeo,
    tmp_path: Path,
) -> None:
    digest = _layout_of_platforms(tmp_path / "platforms", tiny_archive)
    reference = registry.reference(repository, "v1")
    skopeo.copy(f"oci:{tmp_path}/platforms:v1", f"docker://{reference}", "--all")
    result = nixdock.pull_image(
        reference, tmp_path / "layout", form="oci-layout", all_platforms=True
    )
    assert result.digest == digest
    copied = registry.reference(f"{repository}-copy", "v1")
    nixdock.copy_image(f"oci:{tmp_path}/layout:v1", f"docker://{copied}", all_platforms=True)
    assert skopeo.digest(f"docker://{copied}") == digest
    # Skopeo copies the whole of it, too: nothing is missing.
    skopeo.copy(f"oci:{tmp_path}/layout:v1", f"oci:{tmp_path}/theirs:v1", "--all")
    one = nixdock.pull_image(reference, tmp_path / "arm64", platform="linux/arm64")
    assert skopeo.config(f"oci-archive:{tmp_path}/arm64")["architecture"] == "arm64"
    assert one.digest in {manifest.digest for manifest in result.manifests}


def test_tags_are_those_that_skopeo_lists(
    registry: Registry, repository: str, pushed: str, skopeo: Skopeo
) -> None:
    nixdock.copy_image(f"docker://{pushed}", f"docker://{registry.reference(repository, 'a')}")
    name = f"{registry.address}/{repository}"
    assert nixdock.list_tags(name) == skopeo.tags(name) == ["a", "v1"]
