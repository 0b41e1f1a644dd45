"""`nixdock diff` against what a registry's log shows that Podman and Docker fetch."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo
from ..runtime.registry import Registry
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

PRODUCT = """
  let
    library = pkgs.writeTextDir "share/greeting" "{greeting}";
    app = pkgs.writeScriptBin "app" ''
      #!${{pkgs.bash}}/bin/bash
      ${{pkgs.coreutils}}/bin/cat ${{library}}/share/greeting
      echo " {name}"
    '';
  in
  nixdock.buildLayeredImage {{
    name = "product";
    tag = "{tag}";
    maxLayers = 12;
    format = "archive";
    compressor = "gz";
    config.Cmd = [ "${{app}}/bin/app" ];
    {layering}
  }}
"""
LIBRARY_BELOW = 'layering = { strategy = "explicit"; groups = [ [ library ] ]; rest = "auto"; };'


@dataclass(frozen=True)
class Update:
    """Two versions of a product: archives, what they print, and their names in the registry."""

    repository: str
    archives: tuple[Path, ...]
    outputs: tuple[str, ...]
    references: tuple[str, ...]
    predicted: dict[str, Any]

    def digests(self, key: str) -> set[str]:
        """Return the layers that are predicted to be fetched."""
        return {layer["digest"] for layer in self.predicted["layers"] if layer[key]}


def push(
    library: Library, skopeo: Skopeo, registry: Registry, repository: str, *versions: dict[str, str]
) -> Update:
    """Build the versions, push them and predict the update."""
    old, new = (library.build(PRODUCT.format(**version)) for version in versions)
    references = tuple(registry.reference(repository, v["tag"]) for v in versions)
    for archive, reference in zip((old, new), references, strict=True):
        skopeo.copy(f"oci-archive:{archive}", f"docker://{reference}")
    outputs = tuple(f"{version['greeting']} {version['name']}\n" for version in versions)
    return Update(repository, (old, new), outputs, references, diff(old, new))


@pytest.fixture(scope="module")
def app_update(library: Library, skopeo: Skopeo, registry: Registry) -> Update:
    """An update of the app alone."""
    common = {"greeting": "Hello,", "layering": ""}
    return push(
        *(library, skopeo, registry, f"test-{uuid.uuid4().hex[:12]}"),
        {"tag": "v1", "name": "one", **common},
        {"tag": "v2", "name": "two", **common},
    )


@pytest.fixture(scope="module")
def library_update(library: Library, skopeo: Skopeo, registry: Registry) -> Update:
    """An update of a library at the bottom of the image, with all else above it."""
    common = {"name": "reader", "layering": LIBRARY_BELOW}
    return push(
        *(library, skopeo, registry, f"test-{uuid.uuid4().hex[:12]}"),
        {"tag": "v1", "greeting": "Good morning,", **common},
        {"tag": "v2", "greeting": "Good evening,", **common},
    )


def diff(old: Path, new: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "nixdock", "diff", "--json", old, new],
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def update_by(engine: Podman | Docker, registry: Registry, update: Update) -> list[tuple[str, int]]:
    """Pull and run one version after the other; what was fetched for the last."""
    for reference, output in zip(update.references, update.outputs, strict=True):
        before = len(registry.downloads(update.repository))
        assert engine.run(engine.pull(reference)).stdout == output
    return registry.downloads(update.repository)[before:]


def check(found: list[tuple[str, int]], update: Update, transfer: str, key: str) -> None:
    predicted = update.predicted["transfers"][transfer]
    assert sum(size for _, size in found) == predicted["bytes"]
    documents = {update.predicted["new"]["config_digest"]}
    digests = {name for name, _ in found if name.startswith("sha256:")}
    # Docker asks for the manifest by its digest, Podman by its tag.
    assert digests - {update.predicted["new"]["digest"]} == update.digests(key) | documents
    assert len(found) == predicted["layers"] + 2


def test_podman_fetches_what_was_predicted(
    app_update: Update, podman: Podman, registry: Registry
) -> None:
    found = update_by(podman, registry, app_update)
    check(found, app_update, "registry", "fetched")
    assert app_update.predicted["transfers"]["registry"]["bytes"] < 100_000


def test_docker_fetches_what_was_predicted(
    app_update: Update, docker: Docker, registry: Registry
) -> None:
    found = update_by(docker, registry, app_update)
    check(found, app_update, "docker", "fetched_by_docker")


def test_podman_knows_layers_above_a_new_one(
    library_update: Update, podman: Podman, registry: Registry
) -> None:
    found = update_by(podman, registry, library_update)
    check(found, library_update, "registry", "fetched")
    assert library_update.predicted["transfers"]["registry"]["bytes"] < 100_000


def test_docker_fetches_all_layers_above_a_new_one(
    library_update: Update, docker: Docker, registry: Registry
) -> None:
    found = update_by(docker, registry, library_update)
    check(found, library_update, "docker", "fetched_by_docker")
    assert library_update.predicted["transfers"]["docker"]["bytes"] > 10_000_000
    assert library_update.predicted["transfers"]["docker"]["layers"] == 12
    # Loaded from files, there is no registry to ask; but it is the same image.
    for reference in library_update.references:
        docker.rmi(reference)
    for archive, output in zip(library_update.archives, library_update.outputs, strict=True):
        assert docker.run(docker.load(archive)).stdout == output


def test_the_paths_of_the_update_are_told(library_update: Update) -> None:
    found = library_update.predicted
    assert found["paths"]["new"] == found["paths"]["gone"] == 2
    new = {
        path["path"]: path["replaces"]
        for layer in found["layers"]
        for path in layer["paths"]
        if path["status"] == "new"
    }
    assert sorted(path[44:] for path in new) == ["app", "greeting"]
    assert all(before[44:] == after[44:] for after, before in new.items())
