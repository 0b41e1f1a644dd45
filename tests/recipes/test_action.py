"""The action of GitHub and the pipeline of GitLab, against a real registry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from ..runtime.registry import PASSWORD, USERNAME, Registry, local_registry
from .conftest import Project
from .pull_requests import TOKEN, Forge, forge
from .runner import Job, environment

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

ROOT = Path(__file__).parents[2]
LOGIN = {"username": USERNAME, "password": PASSWORD}
ALL = ["Prepare", "Compare", "Comment", "Push"]


@pytest.fixture(scope="module")
def private() -> Iterator[Registry]:
    """A registry that wants a password."""
    with local_registry(passwords=True) as server:
        yield server


@pytest.fixture
def github() -> Iterator[Forge]:
    with forge() as server:
        yield server


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A directory with nixdock beside it, in `bin`."""
    program = tmp_path / "bin/nixdock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m nixdock "$@"\n')
    program.chmod(0o755)
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def job(workspace: Path, github: Forge, event: str = "pull_request", **env: str) -> Job:
    """Return a job for an event of the pull request 3 of me/app."""
    home = workspace.parent / "home"
    temporary = home / "_temp"
    if temporary.exists():
        for file in temporary.iterdir():
            file.unlink()
    runner = {
        **environment(home, workspace.parent / "bin"),
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": "me/app",
        **env,
    }
    context = {"token": TOKEN, "event_name": event, "event.number": "3"}
    return Job(ROOT, workspace, context, runner)


def tags(registry: Registry, repository: str) -> set[str]:
    directory = registry.storage / f"docker/registry/v2/repositories/{repository}/_manifests/tags"
    return {tag.name for tag in directory.iterdir()} if directory.is_dir() else set()


def test_a_pull_request_is_compared_and_a_commit_pushed(
    workspace: Path,
    private: Registry,
    repository: str,
    github: Forge,
    sample_spec: Callable[..., Path],
) -> None:
    destinations = f"{private.reference(repository)}\n{private.reference(repository, 'v1')}\n"
    inputs = {"spec": "spec.json", "destinations": destinations, **LOGIN}

    sample_spec(workspace)
    first = job(workspace, github, "push")
    outputs = first.use(**inputs)
    assert (first.ran, first.failed) == (["Prepare", "Compare", "Push"], False), first.log
    assert "::warning title=nixdock::nothing to compare with: error: " in first.log
    assert tags(private, repository) == {"latest", "v1"}
    assert outputs["digest"].startswith("sha256:")
    assert outputs["reference"] == f"{private.address}/{repository}@{outputs['digest']}"
    assert outputs["report"] == ""
    assert outputs["reference"] in first.summary

    sample_spec(workspace, extra_commands="echo two > note")
    review = job(workspace, github)
    outputs = review.use(**inputs, push="false")
    assert (review.ran, review.failed) == (ALL[:-1], False), review.log
    report = Path(outputs["report"]).read_text()
    assert "the image's own files" in report
    assert review.summary == report
    assert github.comments == [f"<!-- nixdock: spec.json -->\n{report}"]
    assert (outputs["digest"], outputs["reference"]) == ("", "")

    merged = job(workspace, github, "push")
    pushed = merged.use(**inputs)
    assert not merged.failed, merged.log
    assert pushed["digest"] != outputs["digest"]
    assert Path(pushed["report"]).read_text() == report
    assert len(github.comments) == 1
    assert PASSWORD not in first.log + review.log + merged.log


def test_one_comment_is_kept_up_to_date(
    workspace: Path,
    private: Registry,
    repository: str,
    github: Forge,
    sample_spec: Callable[..., Path],
) -> None:
    """Also if it is behind a hundred others, of which one quotes it. Without rights, it warns."""
    destinations = private.reference(repository)
    inputs = {"spec": "spec.json", "destinations": destinations, **LOGIN}
    sample_spec(workspace)
    job(workspace, github, "push").use(**inputs)
    github.comments += ["Looks good", "> <!-- nixdock: spec.json -->", *["+1"] * 148]
    seen = []
    for note in ("two", "three"):
        sample_spec(workspace, extra_commands=f"echo {note} > note; mkdir {note}")
        assert job(workspace, github).use(**inputs, push="false")["report"]
        seen.append(github.comments[-1])
    assert len(github.comments) == 151
    assert all(each.startswith("<!-- nixdock: spec.json -->\n") for each in seen)
    changes = [each for each in github.requests if not each.startswith("GET")]
    assert [each.split()[0] for each in changes] == ["POST", "PATCH"]

    github.is_writable = False
    github.comments.clear()
    for github.is_readable in (True, False):
        fork = job(workspace, github)
        fork.use(**inputs, push="false")
        assert not fork.failed
        assert "::warning title=nixdock::can't comment: Resource not accessible" in fork.log

    github.requests.clear()
    silent = job(workspace, github)
    silent.use(**inputs, push="false", comment="false")
    assert (silent.ran, github.requests) == (ALL[:2], [])


def test_an_update_that_is_too_large_is_reported_and_not_pushed(
    workspace: Path,
    private: Registry,
    repository: str,
    github: Forge,
    sample_spec: Callable[..., Path],
) -> None:
    destinations = private.reference(repository)
    inputs = {"spec": "spec.json", "destinations": destinations, **LOGIN}
    sample_spec(workspace)
    # Nothing can be too large for the first image.
    first = job(workspace, github, "push")
    pushed = first.use(**inputs, max_update="1kB")
    assert not first.failed, first.log

    sample_spec(workspace, extra_commands="head -c 9000 /dev/urandom > noise")
    large = job(workspace, github)
    assert large.use(**inputs, max_update="1kB")["digest"] == ""
    assert (large.ran, large.failed) == (ALL[:-1], True), large.log
    assert len(github.comments) == 1
    small = job(workspace, github)
    assert small.use(**inputs, max_update="1MB")["digest"] not in {"", pushed["digest"]}

    # A limit that can't be checked is not kept.
    wrong = job(workspace, github)
    wrong.use(**{**inputs, "password": "wrong"}, max_update="1MB")
    assert (wrong.ran, wrong.failed) == (ALL[:2], True)


def test_nixdock_is_installed_from_the_action_where_it_is_missing(
    workspace: Path,
    private: Registry,
    repository: str,
    github: Forge,
    sample_spec: Callable[..., Path],
) -> None:
    """By pipx, which every runner has, and from the revision of the action."""
    program = workspace.parent / "bin/nixdock"
    hidden = program.rename(workspace.parent / "nixdock")
    pipx = program.with_name("pipx")
    pipx.write_text(f'#!/bin/sh\necho "$@" > "$HOME/calls"\nln -s {hidden} {program}\n')
    pipx.chmod(0o755)
    sample_spec(workspace)
    inputs = {"spec": "spec.json", "destinations": private.reference(repository), **LOGIN}
    first = job(workspace, github, "push", PATH=f"{program.parent}:/usr/bin:/bin")
    assert first.use(**inputs)["digest"], first.log
    calls = workspace.parent / "home/calls"
    assert calls.read_text() == f"install --quiet {ROOT}\n"
    calls.unlink()
    again = job(workspace, github, "push", PATH=f"{program.parent}:/usr/bin:/bin")
    assert again.use(**inputs)["digest"], again.log
    assert not calls.exists()


def test_texts_of_inputs_are_no_programs(
    workspace: Path, private: Registry, github: Forge, sample_spec: Callable[..., Path]
) -> None:
    sample_spec(workspace)
    text = '$(touch made) `touch made`"; touch made; "'
    odd = job(workspace, github)
    odd.use(spec=text, destinations=text, against=text, max_update=text, **LOGIN)
    assert odd.failed
    assert not list(workspace.parent.rglob("made"))


def filled(text: str, contexts: Mapping[str, str]) -> str:
    """Return a text with values in place of expressions."""
    for expression, value in contexts.items():
        text = text.replace(expression, value)
    assert "${{" not in text
    return text


@pytest.mark.nix
def test_the_image_of_a_flake(
    project: Project, workspace: Path, private: Registry, repository: str, github: Forge
) -> None:
    """The workflow and the pipeline that the templates make, on the image that they make."""
    project.initialise("service", "github", "gitlab")
    file = project.directory / ".github/workflows/image.yml"
    (given,) = [
        step["with"]
        for step in yaml.safe_load(file.read_text())["jobs"]["image"]["steps"]
        if step["uses"].startswith("OWNER/nixdock@")
    ]
    contexts = {
        "${{ github.repository }}": repository,
        "${{ github.sha }}": "0123abc",
        "${{ github.actor }}": USERNAME,
        "${{ github.token }}": PASSWORD,
        "${{ github.event_name == 'push' }}": "true",
        "ghcr.io": private.address,
    }
    inputs = {name.replace("-", "_"): filled(text, contexts) for name, text in given.items()}
    runner = job(project.directory, github, "push", NIX_CONFIG=project.env["NIX_CONFIG"])
    outputs = runner.use(**inputs)
    assert not runner.failed, runner.log
    assert tags(private, repository) == {"latest", "0123abc"}
    assert outputs["digest"].startswith("sha256:")

    flake = project.directory / "flake.nix"
    flake.write_text(flake.read_text().replace("Hello from", "Greetings from"))
    pipeline = yaml.safe_load((project.directory / ".gitlab-ci.yml").read_text())
    variables = {
        **environment(project.directory.parent / "gitlab"),
        "NIX_CONFIG": f"{project.env['NIX_CONFIG']}{pipeline['variables']['NIX_CONFIG']}\n",
        "CI_REGISTRY_IMAGE": f"{private.address}/{repository}",
        "CI_REGISTRY_USER": USERNAME,
        "CI_REGISTRY_PASSWORD": PASSWORD,
        "CI_COMMIT_SHORT_SHA": "4567def",
        "CI_API_V4_URL": github.url,
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "3",
    }

    def run(name: str, **more: str) -> str:
        """Run a job of the pipeline as GitLab's runner does, and return what it writes."""
        script = "\n".join(["set -eo pipefail", *pipeline[name]["script"]])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=project.directory,
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("image-diff")
    assert github.comments == []
    run("image-diff", GITLAB_TOKEN=TOKEN)
    (artifact,) = pipeline["image-diff"]["artifacts"]["paths"]
    (note,) = github.comments
    report = (project.directory / artifact).read_text()
    assert note.replace("\r\n", "\n") == report
    assert "index.html" in report
    run("image-push")
    assert tags(private, repository) == {"latest", "0123abc", "4567def"}
