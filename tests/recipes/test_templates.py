"""What `nix flake init` makes of the templates can be built, and runs as the recipes run it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from nixdock import inspect_image

from ..runtime.command import wait_until
from ..runtime.engine import Docker
from .conftest import Project

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]


@pytest.fixture
def everything(project: Project) -> Project:
    """A project with all templates."""
    flake = json.loads(
        project.run("nix", "eval", "--json", "nixdock#templates", "--apply", "builtins.attrNames")
    )
    project.initialise(*(name for name in flake if name != "default"))
    return project


def test_the_service_runs_as_the_recipes_run_it(
    everything: Project, docker: Docker, tmp_path: Path
) -> None:
    """As a user, on a file system that is read-only, without capabilities; and it answers."""
    done = run_program(everything, "image.load", "--tag", "service:dev", env=docker.env)
    assert done == "service:dev\n"
    service = yaml.safe_load((everything.directory / "compose.yaml").read_text())["services"]
    options = compose_options(service["service"])
    assert options.pop(0) == "service:dev"
    container = docker(
        "run", "--detach", "--network=none", *docker.container_options, *options, "service:dev"
    ).stdout.strip()
    try:
        busybox = docker.inspect("service:dev")["Config"]["Entrypoint"][0]
        fetch = ("exec", container, busybox, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
        wait_until(lambda: docker(*fetch, check=False).returncode == 0, what="the service")
        assert docker(*fetch).stdout == "Hello from a Nix closure.\n"
        who = docker("exec", container, busybox, "id", "-u").stdout
    finally:
        docker("rm", "--force", container)

    deployment = next(yaml.safe_load_all((everything.directory / "kubernetes.yaml").read_text()))
    pod = deployment["spec"]["template"]["spec"]
    assert who == f"{pod['securityContext']['runAsUser']}\n"
    (port,) = pod["containers"][0]["ports"]
    assert port["containerPort"] == 8080


def compose_options(service: Mapping[str, object]) -> list[str]:
    """Return the name of a service's image, and what its keys are on Docker's command line."""
    keys = dict(service)
    options = [str(keys.pop("image")), f"--pull={keys.pop('pull_policy')}"]
    options += [f"--cap-drop={each}" for each in keys.pop("cap_drop")]  # type: ignore[attr-defined]
    for each in keys.pop("security_opt"):  # type: ignore[attr-defined]
        options.append(f"--security-opt={each}")
    if keys.pop("read_only"):
        options.append("--read-only")
    assert keys.keys() == {"ports", "restart"}, "say what a new key is on the command line"
    return options


def run_program(project: Project, attribute: str, *arguments: str, env: Mapping[str, str]) -> str:
    (program,) = (project.build(attribute) / "bin").iterdir()
    return subprocess.run(
        [program, *arguments],
        env={"HOME": str(project.directory), **env},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_the_image_has_the_date_of_the_project(everything: Project) -> None:
    image = everything.build("image")
    (report,) = inspect_image(image).images
    metadata = json.loads(everything.run("nix", "flake", "metadata", "--json"))
    assert report.created is not None
    assert metadata["lastModified"] > 0
    assert report.created != "1970-01-01T00:00:01Z"


def test_the_image_can_be_checked(everything: Project) -> None:
    assert "max-layers" in run_program(everything, "image.check", "--max-layers", "9", env={})
    with pytest.raises(subprocess.CalledProcessError):
        run_program(everything, "image.check", "--max-layers", "1", env={})


def test_the_image_of_the_devenv_is_built(everything: Project) -> None:
    """By Nix alone, with what devenv gives to its module."""
    expression = """
      let
        nixdock = builtins.getFlake "nixdock";
        pkgs = (builtins.getFlake "nixpkgs").legacyPackages.x86_64-linux;
        module = import ./devenv.nix { inherit pkgs; inputs = { inherit nixdock; }; };
      in { inherit (module.outputs) image; package = builtins.head module.packages; }"""
    options = ["--no-link", "--impure", "--json", "--expr", expression]
    (built,) = json.loads(everything.run("nix", "build", *options, "image"))
    (report,) = inspect_image(Path(built["outputs"]["out"])).images
    assert report.tags == ("service:dev",)
    shell = json.loads(everything.run("nix", "build", *options, "package"))
    assert (Path(shell[0]["outputs"]["out"]) / "bin/nixdock").is_file()
    inputs = yaml.safe_load((everything.directory / "devenv.yaml").read_text())["inputs"]
    assert inputs["nixdock"]["inputs"]["nixpkgs"]["follows"] in inputs


def test_the_loop_of_kind_runs_what_it_has_loaded(everything: Project, tmp_path: Path) -> None:
    """Where there is no cluster yet, it makes one. kind and kubectl note what they are asked."""
    programs = tmp_path / "programs"
    programs.mkdir()
    log = tmp_path / "calls"
    scripts = {
        "kind": 'case "$2" in clusters) cat clusters 2>/dev/null ;; cluster) echo kind >clusters ;;'
        " esac",
        "kubectl": "",
        "nix": "echo service:of-this-build",
    }
    for name, script in scripts.items():
        file = programs / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n{script}\n')
        file.chmod(0o755)
    for _ in range(2):
        subprocess.run(
            # `nix flake init` makes files that are no programs.
            ["bash", everything.directory / "deploy.sh"],
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            cwd="/",
            check=True,
            timeout=60,
        )
    round_of_calls = [
        "nix run .#image.load -- --into kind",
        # Whichever cluster kubectl is set to: that may be another one.
        "kubectl --context kind-kind apply --filename kubernetes.yaml",
        "kubectl --context kind-kind set image deployment/service service=service:of-this-build",
        "kubectl --context kind-kind rollout status deployment/service --timeout 120s",
    ]
    assert log.read_text().splitlines() == [
        "kind get clusters",
        "kind create cluster",
        *round_of_calls,
        "kind get clusters",
        *round_of_calls,
    ]
    deployment = next(yaml.safe_load_all((everything.directory / "kubernetes.yaml").read_text()))
    assert deployment["metadata"]["name"] == "service"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["name"] == "service"
