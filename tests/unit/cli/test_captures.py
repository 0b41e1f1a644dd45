"""What people see in a terminal: captures of a real one, at two widths, with and without colours.

With REWRITE_CAPTURES=1 in the environment, the tests write the files that they compare with.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nixdock.cli.screen import columns_of
from tests.unit.cli.program import environment

CAPTURES = Path(__file__).with_name("captures")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
INSPECT = ("inspect", "-q", "new.tar")
COMMANDS = {
    "inspect": (*INSPECT, "--graph", "graph.json"),
    "inspect-paths": (
        "inspect",
        "-q",
        "new.tar",
        "--graph",
        "graph.json",
        "--paths",
        "--sort",
        "added",
    ),
    "inspect-tree": (*INSPECT, "--tree", "--top", "2"),
    "inspect-why": (*INSPECT, "--graph", "graph.json", "--why", "libc"),
    "plan": ("plan", "graph.json", "--max-layers", "4"),
    "diff": ("diff", "old.tar", "new.tar"),
    "diff-paths": ("diff", "old.tar", "new.tar", "--paths"),
}


def in_terminal(command: tuple[str, ...], directory: Path, width: int, **variables: str) -> str:
    """Return what nixdock prints in a terminal of so many columns."""
    usual = {"COLUMNS": str(width), "TERM": "xterm-256color", "NO_COLOR": "", "PYTHONUTF8": "1"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "nixdock", *command],
        env=environment(**(usual | variables)),
        cwd=directory,
        stdout=theirs,
    ) as process:
        os.close(theirs)
        text = b""
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while chunk := os.read(ours, 4096):
                text += chunk
        os.close(ours)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, sample_spec: Callable[..., Path]) -> Path:
    """A directory with the images of two versions of an app, and the graph of the new one."""
    directory = tmp_path_factory.mktemp("images")
    for version, name in (("1.9", "old"), ("2.0", "new")):
        _build(directory, sample_spec, version, name)
    return directory


def _build(directory: Path, sample_spec: Callable[..., Path], version: str, name: str) -> None:
    """Build an image with the paths of the sample spec, whose app has a version."""
    spec = json.loads(sample_spec(directory).read_text())
    graph = json.loads((directory / "graph.json").read_text())
    store = directory / "root"
    before = graph[-1]["path"]
    app = f"/nix/store/{version.replace('.', '') * 16}-app-{version}"
    files = Path(f"{store}{app}")
    (files / "bin").mkdir(parents=True)
    (files / "bin" / "app").write_bytes(version.encode() * 5000)
    # A name that a terminal must not act on.
    (files / "bin" / "e\x1b[31mvil").write_bytes(b"")
    for info in graph:
        info["narHash"] = f"sha256:{'0' * 51}{info['path'][11]}"
        if info["path"] == before:
            info |= {"path": app, "narHash": f"sha256:{'0' * 51}{version[0]}"}
    graph[-1]["narSize"] = 19_596
    (directory / "graph.json").write_text(json.dumps(graph))
    config = {"Entrypoint": [f"{app}/bin/app"]}
    changes = {"config": config, "contents": [], "max_layers": 4, "extra_commands": ""}
    (directory / "spec.json").write_text(json.dumps(spec | changes))
    arguments = [sys.executable, "-m", "nixdock", "build", "spec.json", "-q", "-o", f"{name}.tar"]
    subprocess.run(arguments, env=environment(), cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_in_a_terminal(images: Path, name: str, width: int, colours: bool) -> None:
    variables = {} if colours else {"NO_COLOR": "1"}
    text = in_terminal(COMMANDS[name], images, width, **variables)
    assert "\x1b[31m" not in text
    plain = ESCAPE.sub("", text)
    assert (plain != text) is colours
    for line in plain.splitlines():
        # Sentences, fields and reasons are for copying, and so left to the terminal to break.
        if re.match(r" *(layer  |store path  |\d+(-\d+)?  |[=>+-] |[0-9.]+ k?B  )", line):
            assert columns_of(line) <= width
    file = CAPTURES / f"{name}-{width}{'-colours' if colours else ''}.txt"
    shown = text.replace("\x1b", "<ESC>")
    if os.environ.get("REWRITE_CAPTURES"):
        file.write_text(shown)
    assert shown == file.read_text()


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours(images: Path, variables: dict[str, str]) -> None:
    text = in_terminal(COMMANDS["diff"], images, 80, **variables)
    assert "\x1b" not in text
    # Marks and words tell what colours do.
    assert "= kept" in text
    assert "+ new" in text


def test_without_unicode(images: Path) -> None:
    text = in_terminal(COMMANDS["diff"], images, 80, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert text.isascii()
    assert "app 1.9 -> 2.0" in text
    assert "####" in text
