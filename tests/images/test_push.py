"""Images that go from the store into a registry, and from there into runtimes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo
from ..runtime.registry import Registry
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

IMAGE = """nixdock.streamLayeredImage {
  name = "greeting"; tag = "v1";
  contents = [ pkgs.hello ];
  extraCommands = "echo %s > note";
  config.Cmd = [ "${pkgs.hello}/bin/hello" ];
}"""

# A file that was opened, in the log of `strace -y`: the directory, and the name in it.
OPENED = re.compile(r'open(?:at2?)?\((?:[^<"]*<([^>]*)>, )?"([^"]*)"[^)]*\) = [0-9]')


def opened_in_store(log: Path) -> set[str]:
    files = (
        f"{directory}/{name}" if name[:1] != "/" else name
        for directory, name in OPENED.findall(log.read_text())
    )
    return {file for file in files if file.startswith("/nix/store/")}


def push(program: Path, *arguments: str, home: Path) -> dict[str, Any]:
    (executable,) = (program / "bin").iterdir()
    done = subprocess.run(
        [executable, *arguments, "--json", "-q"],
        env={"HOME": str(home), "PATH": "/no"},
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(result: dict[str, Any]) -> set[str]:
    return {layer["outcome"] for layer in result["layers"]}


@pytest.mark.parametrize(
    "image",
    [
        IMAGE % "one",
        'nixdock.buildLayeredImage { name = "a"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }',
        'nixdock.buildImage { name = "a"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }',
    ],
)
def test_every_image_can_be_pushed_and_run(
    library: Library,
    registry: Registry,
    repository: str,
    docker: Docker,
    podman: Podman,
    skopeo: Skopeo,
    tmp_path: Path,
    image: str,
) -> None:
    program = library.build(f"({image}).push")
    name = registry.reference(repository, "v1")
    result = push(program, name, home=tmp_path)
    assert result["references"] == [f"{registry.address}/{repository}@{result['digest']}"]
    assert outcomes(result) == {"uploaded"}
    assert skopeo.digest(f"docker://{name}") == result["digest"]
    for engine in (docker, podman):
        engine.pull(name)
        assert engine.run(name).stdout.startswith("Hello")

    again = push(program, name, home=tmp_path / "empty")
    assert (outcomes(again), again["bytes_sent"]) == ({"known"}, 0)
    assert again["digest"] == result["digest"]
    assert again["requests"] <= 6


def test_no_file_of_an_unchanged_image_is_opened(
    library: Library, registry: Registry, repository: str, tmp_path: Path
) -> None:
    conf = library.build(f"({IMAGE % 'two'}).conf")
    name = registry.reference(repository, "v1")

    log = tmp_path / "log"

    def traced() -> tuple[dict[str, Any], set[str]]:
        strace = [
            "strace",
            "-f",
            "-qq",
            "-y",
            "-s",
            "4096",
            "-e",
            "trace=open,openat,openat2",
            "-o",
            str(log),
        ]
        nixdock = [sys.executable, "-m", "nixdock", "push", "--json", "-q", "--no-cache"]
        done = subprocess.run(
            [*strace, *nixdock, str(conf), name],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin"},
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout), opened_in_store(log)

    opened = traced()[1]
    assert any("hello" in file for file in opened)
    logged = len(registry.requests(repository))
    again, opened = traced()
    assert (again["bytes_read"], again["bytes_sent"]) == (0, 0)
    # The resolved spec, and the checksum of the top layer, which stands for its bytes.
    spec = json.loads(conf.read_text())
    assert opened == {str(conf), f"{spec['top_layer']}/checksum"}
    assert len(registry.requests(repository)) - logged == 2


def test_only_what_changed_is_sent(
    library: Library, registry: Registry, repository: str, tmp_path: Path
) -> None:
    name = registry.reference(repository, "v1")
    first = push(library.build(f"({IMAGE % 'three'}).push"), name, home=tmp_path)
    changed = push(library.build(f"({IMAGE % 'four'}).push"), name, home=tmp_path)
    sent = [layer for layer in changed["layers"] if layer["outcome"] != "known"]
    assert [layer["comment"] for layer in sent] == ["the image's own files"]
    assert changed["bytes_sent"] < first["bytes_sent"]
