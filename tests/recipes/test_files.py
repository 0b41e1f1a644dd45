"""Every recipe has the form that its reader wants, and docs/ci.md shows it as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
YAML = sorted(
    [ROOT / "action.yml"]
    + [file for file in TEMPLATES.rglob("*") if file.suffix in {".yml", ".yaml"}]
)
SCRIPTS = sorted([*ROOT.glob("action/*.sh"), *TEMPLATES.rglob("*.sh")])
SCHEMAS = {
    "action.yml": ["github-actions"],
    "templates/github/.github/workflows/image.yml": ["github-workflows"],
    "templates/gitlab/.gitlab-ci.yml": ["gitlab-ci", "--data-transform", "gitlab-ci"],
    "templates/compose/compose.yaml": ["compose-spec"],
}
STYLE = (
    "{extends: default, rules: {document-start: disable, line-length: {max: 110},"
    " truthy: {check-keys: false}}}"
)


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def passes(*command: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", SCHEMAS)
def test_files_keep_to_their_schemas(file: str) -> None:
    schema, *options = SCHEMAS[file]
    passes("check_jsonschema", "--builtin-schema", f"vendor.{schema}", *options, file)


def test_the_manifests_are_those_of_kubernetes() -> None:
    file = TEMPLATES / "kubernetes/kubernetes.yaml"
    script = (
        "import sys, yaml, kubernetes_validate\n"
        "for resource in yaml.safe_load_all(open(sys.argv[1])):\n"
        "    kubernetes_validate.validate(resource, '1.31', strict=True)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_service_leads_to_the_pods_of_the_deployment() -> None:
    text = (TEMPLATES / "kubernetes/kubernetes.yaml").read_text()
    deployment, service = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("file", YAML, ids=name)
def test_yaml_is_tidy(file: Path) -> None:
    passes("yamllint", "--strict", "--config-data", STYLE, file)


def test_scripts_are_sound() -> None:
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([program, *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [file for file in SCRIPTS if not file.stat().st_mode & 0o100] == []


def test_the_action_passes_inputs_by_environment_alone() -> None:
    """A text in a command would be a part of the program, whatever it is."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert [step["run"] for step in steps if "${{" in step["run"]] == []
    used = re.findall(r"inputs\.([\w-]+)", str(steps))
    assert set(used) == set(action["inputs"])
    scripts = Counter(re.findall(r"action/\w+\.sh", str(steps)))
    assert scripts == Counter(name(file) for file in ROOT.glob("action/*.sh"))


def test_a_workflow_uses_inputs_that_the_action_has() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    workflow = yaml.safe_load((TEMPLATES / "github/.github/workflows/image.yml").read_text())
    (given,) = [
        step["with"]
        for step in workflow["jobs"]["image"]["steps"]
        if step["uses"].startswith("OWNER/nixdock@")
    ]
    assert given.keys() <= action["inputs"].keys()
    required = {key for key, about in action["inputs"].items() if about.get("required")}
    assert required <= given.keys()


def test_templates_get_nixdock_from_an_address() -> None:
    """The one of the README: Nix no longer looks up inputs in the registries of users."""
    address = r'nixdock\.url = "(.*?)"'
    (expected,) = re.findall(address, (ROOT / "README.md").read_text())
    assert re.findall(address, (TEMPLATES / "service/flake.nix").read_text()) == [expected]
    devenv = yaml.safe_load((TEMPLATES / "devenv/devenv.yaml").read_text())
    assert devenv["inputs"]["nixdock"]["url"] == expected


def test_documentation_shows_the_recipes() -> None:
    """A block of code below the name of a file is the file."""
    text = (ROOT / "docs/ci.md").read_text()
    block_of_file = r"^\[`[^`]*`\]\(\.\./(\S+)\):\n\n```\w+\n((?s:.*?))^```$"
    shown = re.findall(block_of_file, text, re.MULTILINE)
    assert {file for file, _ in shown} >= {
        name(file) for file in TEMPLATES.rglob("*") if file.is_file()
    }
    for file, block in shown:
        assert block == (ROOT / file).read_text(), file


@pytest.mark.parametrize(
    "printed", ['{"outputs.image": "/nix/store/x-service.tar.gz"}', "/nix/store/x-service.tar.gz"]
)
def test_the_image_of_a_devenv_is_loaded(printed: str, tmp_path: Path) -> None:
    """Whether devenv prints JSON, as it does since version 2.0, or the path."""
    page = (ROOT / "docs/ci.md").read_text()
    (command,) = re.findall(r"^\$ (.*devenv build.*)$", page, re.MULTILINE)
    for program, script in {"devenv": f"echo '{printed}'", "nixdock": 'printf "[%s]" "$@"'}.items():
        file = tmp_path / program
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu", "-c", command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[load][/nix/store/x-service.tar.gz]"
