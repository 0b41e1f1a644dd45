"""Images of the Nix library state where they come from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import nixdock

from ..runtime.registry import Registry
from ..unit.provenance.statements import statement
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

IMAGE = """nixdock.streamLayeredImage {
  name = "greeting"; tag = "v1";
  config.Cmd = [ "${pkgs.hello}/bin/hello" ];
  provenance = { flake = "github:me/greeting"; revision = "%s"; };
}"""


def test_a_pushed_image_has_its_provenance(
    library: Library, registry: Registry, repository: str, tmp_path: Path
) -> None:
    program = library.build(f"({IMAGE % ('c' * 40)}).push")
    (executable,) = (program / "bin").iterdir()
    reference = registry.reference(repository, "v1")
    subprocess.run(
        [executable, reference, "--provenance", "--sbom", "spdx", "-q"],
        env={"HOME": str(tmp_path), "PATH": "/no"},
        capture_output=True,
        check=True,
    )
    kind = "application/vnd.in-toto+json"
    data = nixdock.read_referrer(f"docker://{reference}", artifact_type=kind)
    predicate = statement(data)["predicate"]
    versions = predicate["runDetails"]["builder"]["version"]
    assert versions["nix"] == library.evaluate("builtins.nixVersion")
    definition = predicate["buildDefinition"]
    assert definition["internalParameters"] == {"system": library.evaluate("pkgs.system")}
    flake, *paths = definition["resolvedDependencies"]
    assert flake["digest"] == {"gitCommit": "c" * 40}
    assert any(each["name"].startswith("hello") for each in paths)
    assert all(each["annotations"]["narHash"].startswith("sha256-") for each in paths)


def test_the_revision_does_not_change_the_layers(library: Library) -> None:
    specs = [
        json.loads(library.build(f"({IMAGE % (letter * 40)}).conf").read_text()) for letter in "cd"
    ]
    assert [spec.pop("provenance")["revision"][0] for spec in specs] == ["c", "d"]
    assert specs[0] == specs[1]
