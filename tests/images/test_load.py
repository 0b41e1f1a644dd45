"""Images that go from the store into runtimes, without an archive."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..runtime.engine import Docker, Podman
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

IMAGE = """nixdock.streamLayeredImage {
  name = "loaded"; tag = "v1";
  extraCommands = "echo %s > note";
  config.Entrypoint = [ "${pkgs.hello}/bin/hello" ];
}"""


def start(
    program: Path, *arguments: str, env: dict[str, str], home: Path
) -> subprocess.CompletedProcess[str]:
    (executable,) = (program / "bin").iterdir()
    return subprocess.run(
        [executable, *arguments],
        env={**env, "XDG_CACHE_HOME": str(home)},
        capture_output=True,
        check=True,
        text=True,
    )


def test_what_changed_is_loaded_and_run(library: Library, docker: Docker, tmp_path: Path) -> None:
    def load(note: str) -> dict[str, Any]:
        program = library.build(f"({IMAGE % note}).load")
        done = start(program, "--json", "-q", env={**docker.env}, home=tmp_path)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    first = load("one")
    assert first["names"] == ["loaded:v1"]
    assert docker.inspect("loaded:v1")["Id"] == first["image"]
    assert load("one")["blobs"] == 0
    changed = load("two")
    assert [each["comment"] for each in changed["layers"] if each["bytes_sent"]] == [
        "the image's own files"
    ]
    run = library.build(f"({IMAGE % 'two'}).run")
    options = ["--option=--network=none", "--", "--greeting=Good day"]
    done = start(run, "-q", *options, env={**docker.env}, home=tmp_path)
    assert done.stdout == "Good day\n"


def test_the_names_of_nix2container(
    library: Library, docker: Docker, podman: Podman, tmp_path: Path
) -> None:
    image = IMAGE % "three"
    copies = [
        ("copyToDockerDaemon", docker, "copied:v2"),
        ("copyToPodman", podman, "localhost/copied:v2"),
    ]
    for attribute, engine, name in copies:
        program = library.build(f"({image}).{attribute}")
        done = start(program, "--tag", "copied:v2", env={**engine.env}, home=tmp_path)
        assert done.stdout == f"{name}\n"
        assert engine.run(name).stdout == "Hello, world!\n"
    done = start(
        library.build(f"({image}).copyTo"),
        "docker-daemon:copied:v3",
        env={**docker.env},
        home=tmp_path,
    )
    assert docker.run("copied:v3").stdout == "Hello, world!\n"
    serve = library.build(f"({image}).serve")
    done = start(serve, "--for", "0.01", env={**docker.env}, home=tmp_path)
    assert done.stdout.endswith("/loaded:v1\n")
