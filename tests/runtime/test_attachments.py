"""What is attached to images: in a registry that lists no referrers, and as other tools see it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nixdock
from nixdock import Attaching, Pushing
from nixdock.oci.layout import Format

from .containerd import Containerd
from .engine import Engine
from .home import Home, served
from .oci_tools import Skopeo, Umoci
from .registry import Registry

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

BOTH = Attaching(sbom="spdx", provenance=True)
# Of store paths with the same hashes, each test has other files.
NO_CACHE = Pushing(use_cache=False)
TYPES = {"application/spdx+json", "application/vnd.in-toto+json"}


@pytest.fixture
def spec(home: Home) -> Iterator[nixdock.ImageSpec]:
    yield nixdock.read_spec(home.spec("attached"))


def types(place: str) -> set[str]:
    return {each.artifact_type for each in nixdock.list_referrers(place)[1]}


def test_clients_that_attach_at_the_same_time_lose_nothing(
    spec: nixdock.ImageSpec, registry: Registry, repository: str
) -> None:
    """The registry lists no referrers, so that every client writes the same list."""
    reference = registry.reference(repository, "v1")
    pushed = nixdock.push_image(spec, [reference], NO_CACHE, attaching=BOTH)
    command = [sys.executable, "-m", "nixdock", "attach", f"docker://{reference}", "--file", "-"]
    clients = []
    for number in range(5):
        options = ["--type", f"application/vnd.example.{number}"]
        client = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        clients.append(client)
    for number, client in enumerate(clients):
        assert client.stdin is not None
        client.stdin.write(f"content {number}")
        client.stdin.close()
    for client in clients:
        assert client.wait() == 0
        assert client.stdout is not None
        client.stdout.close()
    place = f"docker://{reference}"
    assert types(place) == TYPES | {f"application/vnd.example.{number}" for number in range(5)}
    for number in range(5):
        kind = f"application/vnd.example.{number}"
        content = nixdock.read_referrer(place, artifact_type=kind)
        assert content == f"content {number}".encode()
    tags = nixdock.list_tags(registry.reference(repository).rpartition(":")[0])
    assert tags == [pushed.digest.replace(":", "-"), "v1"]


def test_a_registry_has_the_attachments_that_a_layout_had(
    spec: nixdock.ImageSpec, home: Home
) -> None:
    layout = home.directory / "layout"
    image = nixdock.build_image(spec, layout, form="oci-layout", attaching=BOTH)
    with served(home, layout) as (reference, _):
        place = f"docker://{reference}"
        assert nixdock.list_referrers(place)[0] == image.manifest.digest
        assert types(place) == TYPES
        for kind in TYPES:
            served_content = nixdock.read_referrer(place, artifact_type=kind)
            assert served_content == nixdock.read_referrer(layout, artifact_type=kind)


@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.OCI_ARCHIVE])
def test_containerd_imports_an_archive_with_attachments(
    spec: nixdock.ImageSpec, home: Home, containerd: Containerd, form: Format
) -> None:
    archive = home.directory / "image.tar"
    nixdock.build_image(spec, archive, form=form, attaching=BOTH)
    assert containerd.load(archive) == ["docker.io/test/greeting:v1"]


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_load_an_archive_with_attachments(
    request: pytest.FixtureRequest, spec: nixdock.ImageSpec, home: Home, name: str
) -> None:
    engine: Engine = request.getfixturevalue(name)
    archive = home.directory / "image.tar"
    image = nixdock.build_image(spec, archive, attaching=BOTH)
    loaded = engine.load(archive)
    assert engine.inspect(loaded)["Id"].removeprefix("sha256:") in image.config.digest
    engine.rmi(loaded)


def test_other_tools_read_a_layout_with_attachments_by_its_tag(
    spec: nixdock.ImageSpec, home: Home, skopeo: Skopeo, umoci: Umoci
) -> None:
    layout = home.directory / "layout"
    image = nixdock.build_image(spec, layout, form="oci-layout", attaching=BOTH)
    assert skopeo.digest(f"oci:{layout}:v1") == image.manifest.digest
    umoci.validate(layout, "v1")


def test_skopeo_copies_the_list_of_a_registry(
    spec: nixdock.ImageSpec, registry: Registry, repository: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    """To other clients, the list is an index like any other."""
    reference = registry.reference(repository, "v1")
    pushed = nixdock.push_image(spec, [reference], NO_CACHE, attaching=BOTH)
    tag = pushed.digest.replace(":", "-")
    index = json.loads(skopeo.manifest(f"docker://{registry.reference(repository, tag)}"))
    assert {each["artifactType"] for each in index["manifests"]} == TYPES


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_load_and_pull_an_index_with_attestations(
    request: pytest.FixtureRequest,
    spec: nixdock.ImageSpec,
    home: Home,
    registry: Registry,
    repository: str,
    name: str,
) -> None:
    engine: Engine = request.getfixturevalue(name)
    archive = home.directory / "image.tar"
    in_index = Attaching(sbom="spdx", provenance=True, form="index")
    image = nixdock.build_image(spec, archive, attaching=in_index)
    loaded = engine.load(archive)
    assert engine.inspect(loaded)["Id"].removeprefix("sha256:") in image.config.digest
    engine.rmi(loaded)
    reference = registry.reference(repository, "v1")
    pushed = nixdock.push_image(spec, [reference], NO_CACHE, attaching=in_index)
    assert pushed.digest == image.root.digest
    pulled = engine.pull(reference)
    assert engine.inspect(pulled)["Id"].removeprefix("sha256:") in image.config.digest
    engine.rmi(pulled)


def test_other_tools_read_an_index_with_attestations(
    spec: nixdock.ImageSpec, home: Home, skopeo: Skopeo, containerd: Containerd
) -> None:
    archive = home.directory / "image.tar"
    in_index = Attaching(sbom="spdx", provenance=True, form="index")
    image = nixdock.build_image(spec, archive, form=Format.OCI_ARCHIVE, attaching=in_index)
    assert skopeo.digest(f"oci-archive:{archive}:v1") == image.root.digest
    copied = home.directory / "copied"
    skopeo.copy(f"oci-archive:{archive}", f"oci:{copied}:v1", preserve_digests=False)
    assert skopeo.digest(f"oci:{copied}:v1") == image.manifest.digest
    assert containerd.load(archive) == ["docker.io/test/greeting:v1"]
