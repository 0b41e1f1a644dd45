"""`nixdock pull`, `copy` and `tags`: what they print and how they exit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nixdock.cli import tags
from tests.runtime.command import wait_until
from tests.unit.cli.program import PROGRAM, environment
from tests.unit.registry.fake_registry import FakeRegistry, Fault, fake_registry
from tests.unit.transfer.samples import Sample, sample, store


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry with x:v1 and x:v2."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def image(fake: FakeRegistry) -> Sample:
    found = sample("one", "two")
    store(fake, "x", found, "v1")
    store(fake, "x", found, "v2")
    return found


def nixdock(home: Path, *args: str | Path, check: bool = True) -> tuple[int, str, str]:
    env = environment(HOME=str(home), XDG_CACHE_HOME=str(home), XDG_RUNTIME_DIR=str(home))
    command = [*PROGRAM, *map(str, args)]
    done = subprocess.run(
        command, text=True, capture_output=True, check=False, timeout=120, env=env
    )
    assert not check or done.returncode == 0, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_reference_by_digest_is_printed(
    fake: FakeRegistry, image: Sample, tmp_path: Path
) -> None:
    reference = f"{fake.host}/x@{image.digest}\n"
    assert nixdock(tmp_path, "pull", f"{fake.host}/x:v1", "-o", tmp_path / "out") == (
        0,
        reference,
        "",
    )
    _, out, _ = nixdock(tmp_path, "pull", f"{fake.host}/x:v1", "-o", tmp_path / "out", "--json")
    document = json.loads(out)
    assert document["source"] == f"docker://{fake.host}/x:v1"
    assert document["names"] == [f"{fake.host}/x:v1"]
    assert document["digest"] == image.digest
    assert document["bytes_read"] == sum(map(len, image.blobs.values()))
    assert [blob["outcome"] for blob in document["blobs"]] == ["written"] * 3
    # To standard output, it is the image that goes there.
    archive = [*PROGRAM, "pull", f"{fake.host}/x:v1", "-o", "-"]
    env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    done = subprocess.run(archive, capture_output=True, check=True, timeout=120, env=env)
    assert done.stdout == (tmp_path / "out").read_bytes()
    assert done.stderr.decode() == reference
    copy = [*PROGRAM, "copy", "-q", f"docker://{fake.host}/x:v1", "/dev/stdout"]
    done = subprocess.run(copy, capture_output=True, check=True, timeout=120, env=env)
    assert (done.stdout, done.stderr.decode()) == ((tmp_path / "out").read_bytes(), reference)


def test_a_copy_says_what_was_sent(fake: FakeRegistry, image: Sample, tmp_path: Path) -> None:
    args = ["copy", f"docker://{fake.host}/x:v1", f"docker://{fake.host}/y:v1"]
    _, out, err = nixdock(tmp_path, *args)
    assert out == f"{fake.host}/y@{image.digest}\n"
    *blobs, summary = err.splitlines()
    assert sorted(line.split()[0] for line in blobs) == ["mounted"] * 3
    assert summary == f"{fake.host}/y:v1: 3 mounted, 0 B read"
    _, out, err = nixdock(tmp_path, *args, "--quiet", "--json")
    assert [blob["outcome"] for blob in json.loads(out)["blobs"]] == ["present"] * 3
    assert err == ""


@pytest.mark.usefixtures("image")
def test_tags_are_lines(fake: FakeRegistry, tmp_path: Path) -> None:
    assert nixdock(tmp_path, "tags", f"{fake.host}/x")[1] == "v1\nv2\n"
    assert json.loads(nixdock(tmp_path, "tags", f"{fake.host}/x", "--json")[1]) == ["v1", "v2"]


def test_a_tag_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tags, "list_tags", lambda *_, **__: ["v1\nv2", "v" * 300])
    tags.command.main(["localhost:1/x"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == [r"v1\nv2", "v" * 300]


@pytest.mark.usefixtures("image")
def test_an_interrupted_pull_ends_at_once(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.faults.append(Fault("GET", "/blobs/", cut=10, stall=True, times=9))
    env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    command = [*PROGRAM, "pull", f"{fake.host}/x:v1", "-o", str(tmp_path / "out")]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as pull:
        wait_until(lambda: bool(fake.requests("GET", "/blobs/")), timeout=60)
        pull.send_signal(signal.SIGINT)
        # The registry stays silent for longer.
        assert pull.wait(30) == 130
        assert pull.stderr is not None
        assert pull.stderr.read().strip() == "error: interrupted"
    assert [file.name for file in tmp_path.iterdir()] == ["nixdock"]


@pytest.mark.usefixtures("image")
def test_errors_are_messages(fake: FakeRegistry, tmp_path: Path) -> None:
    status, out, err = nixdock(
        tmp_path, "pull", f"{fake.host}/x:none", "-o", tmp_path / "out", check=False
    )
    assert (status, out) == (1, "")
    assert err == (
        f"error: {fake.host}/x has no image none; `nixdock tags {fake.host}/x` lists those it has\n"
    )
    status, _, err = nixdock(tmp_path, "copy", "a", "containers-storage:b", check=False)
    assert status == 2
    assert "containers-storage:b is a location of skopeo" in err
    assert not (tmp_path / "out").exists()


def test_help_does_not_load_the_client() -> None:
    script = (
        "import sys; from nixdock.cli import main;"
        "main.main(['pull', '--help'], standalone_mode=False);"
        "print({'urllib3', 'nixdock.transfer'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\nset()\n")
