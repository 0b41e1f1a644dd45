"""Indexes of images of several package sets, and the annotations that the library fills in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nixdock import inspect_image, verify_image

from ..nix.harness import NixError
from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo
from ..runtime.registry import Registry
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

# The package set has no cross compiler: another machine's packages are these, under its name.
INDEX = f"""
let
  cross = pkgs // {{
    pkgs = cross;
    stdenv = pkgs.stdenv // {{
      hostPlatform = pkgs.stdenv.hostPlatform // {{ go = {{ GOARCH = "%s"; GOARM = "%s"; }}; }};
    }};
  }};
  imageOf = library: library.%s {{
    name = "greeting"; tag = "1.0";
    config.Cmd = [ "${{pkgs.hello}}/bin/hello" ];
    meta.license = pkgs.lib.licenses.mit or {{ spdxId = "MIT"; }};
  }};
in nixdock.buildIndex {{
  name = "x/greeting"; tag = "1.0";
  images = [ (imageOf (import {LIBRARY} cross)) (imageOf nixdock) ];
  annotations."org.opencontainers.image.source" = "https://x/$(a b)'";
}}"""
ARM64 = INDEX % ("arm64", "", "streamLayeredImage")
TITLE = "org.opencontainers.image.title"


def run(program: Path, *arguments: str, home: Path, **variables: str) -> str:
    (executable,) = (program / "bin").iterdir()
    done = subprocess.run(
        [executable, *arguments],
        env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def index_of(document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    return document["index"]["digest"], document["index"]["annotations"]


@pytest.mark.parametrize(
    ("other", "builder", "platform"),
    [
        (("arm64", ""), "streamLayeredImage", "linux/arm64"),
        (("arm", "6"), "buildLayeredImage", "linux/arm/v6"),
        (("arm", "7"), "buildImage", "linux/arm/v7"),
    ],
)
def test_an_index_is_built_and_pushed(
    library: Library,
    registry: Registry,
    repository: str,
    skopeo: Skopeo,
    tmp_path: Path,
    other: tuple[str, str],
    builder: str,
    platform: str,
) -> None:
    expression = INDEX % (*other, builder)
    built = library.build(expression)
    assert built.name.endswith("-index-greeting.tar")
    assert verify_image(built, strict=True).problems == ()
    images = [image.document() for image in inspect_image(built, quick=True).images]
    found = {
        "/".join(filter(None, (each["os"], each["architecture"], each["variant"])))
        for each in images
    }
    assert found == {"linux/amd64", platform}
    ((digest, annotations),) = {
        json.dumps(index_of(each)): index_of(each) for each in images
    }.values()
    assert annotations == {
        TITLE: "greeting",
        "org.opencontainers.image.version": "1.0",
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.source": "https://x/$(a b)'",
    }
    name = registry.reference(repository, "v1")
    program = library.build(f"({expression}).push")
    pushed = json.loads(run(program, name, "--json", "-q", home=tmp_path))
    # Pushed straight from the store, it is the same.
    assert pushed["digest"] == digest == skopeo.digest(f"docker://{name}")


def test_the_programs_load_the_image_for_the_machine(
    library: Library, docker: Docker, podman: Podman, tmp_path: Path
) -> None:
    for engine, attribute, name in (
        (docker, "copyToDockerDaemon", "x/greeting:1.0"),
        (podman, "copyToPodman", "localhost/x/greeting:1.0"),
    ):
        program = library.build(f"({ARM64}).{attribute}")
        loaded = run(program, "-q", home=tmp_path, **_variables(engine.env))
        assert loaded == f"{name}\n"
        assert engine.inspect(name)["Architecture"] == "amd64"
        assert engine.run(name).stdout.startswith("Hello")
        engine.rmi(name)


def _variables(environment: Any) -> dict[str, str]:
    wanted = ("DOCKER_", "CONTAINERS_", "REGISTRY_", "TMPDIR", "XDG_RUNTIME_DIR")
    return {key: value for key, value in environment.items() if key.startswith(wanted)}


def test_the_tag_is_the_hash_of_the_index(library: Library, tmp_path: Path) -> None:
    expression = ARM64.replace('tag = "1.0";\n  images', "images")
    built = library.build(f'({expression}).override {{ format = "oci-layout"; }}')
    assert built.is_dir()
    (name,) = {name for image in inspect_image(built, quick=True).images for name in image.tags}
    hash_part = built.name.partition("-")[0]
    assert name == f"x/greeting:{hash_part}"
    tag = library.evaluate(f'(({expression}).override {{ format = "oci-layout"; }}).imageTag')
    assert tag == hash_part


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('nixdock.buildIndex { name = "x"; images = [ ]; }', "images is empty"),
        (
            f'({ARM64}).override {{ format = "docker-archive"; }}',
            "a docker-archive holds no index; use the format archive",
        ),
        (
            f"(({ARM64}).override (old: {{ images = [ (builtins.head old.images) ]; }})).load",
            "none of the images that are built is for amd64",
        ),
        ('nixdock.buildIndex { name = "a b"; images = [ "/x" ]; }', "is not the name of an image"),
    ],
)
def test_what_can_not_be(library: Library, expression: str, message: str) -> None:
    with pytest.raises(NixError, match=message):
        library.evaluate(f"({expression}).drvPath")


def test_what_meta_and_labels_say(library: Library) -> None:
    """Of the image's own meta attributes, less than what the user says."""
    image = """nixdock.buildLayeredImage {
      name = "x"; tag = "dev"; format = "oci-layout";
      config.labels."org.opencontainers.image.url" = "https://mine";
      labels.own = "label";
      layerAnnotations.layer = "yes";
      annotations."org.opencontainers.image.description" = "mine";
      meta = {
        description = "theirs"; homepage = "https://theirs";
        license = [ { spdxId = "MIT"; } { spdxId = "Apache-2.0"; } ];
      };
    }"""
    (report,) = inspect_image(library.build(image)).images
    own = {"org.opencontainers.image.description": "mine"}
    assert report.annotations == {
        **own,
        TITLE: "x",
        "org.opencontainers.image.url": "https://mine",
        "org.opencontainers.image.licenses": "MIT AND Apache-2.0",
    }
    assert report.config["Labels"] == {
        "org.opencontainers.image.url": "https://mine",
        "own": "label",
    }
    plain = f"({image}).override {{ defaultAnnotations = false; }}"
    (report,) = inspect_image(library.build(plain)).images
    assert report.annotations == own


def test_a_base_image_that_was_pulled(library: Library) -> None:
    """The file does not tell where it comes from, but pullImage does."""
    digest = f"sha256:{'a' * 64}"
    image = f"""nixdock.buildLayeredImage {{
      name = "x"; tag = "t"; format = "oci-layout";
      fromImage = nixdock.buildImage {{ name = "base"; extraCommands = "touch a"; }} // {{
        source = "docker://debian@{digest}";
      }};
    }}"""
    (report,) = inspect_image(library.build(image)).images
    assert report.annotations == {
        TITLE: "x",
        "org.opencontainers.image.base.name": f"docker.io/library/debian@{digest}",
        "org.opencontainers.image.base.digest": digest,
    }
