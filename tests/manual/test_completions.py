"""Real shells load the completions, and complete a command and an option with them."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from manual.completions import COMPLETION_FILES

pytestmark = pytest.mark.tools

ROOT = Path(__file__).parents[2]
LINES = {
    "nixdock bui": "build",
    "nixdock build --compr": "--compression",
    "nixdock build --format oci-l": "oci-layout",
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which shells find this nixdock, and no settings of the user."""
    program = tmp_path / "bin/nixdock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m nixdock "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
    }


def by_bash(line: str, file: Path, environment: dict[str, str], directory: Path) -> list[str]:
    """Return what bash offers for the last word: it calls the function that the script names."""
    script = """
        source "$1" && read -r -a COMP_WORDS <<<"$2" && COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        [[ $(complete -p nixdock) =~ -F\\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" nixdock
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return output(["bash", "--norc", "-c", script, "bash", file, line], environment).split()


def by_fish(line: str, file: Path, environment: dict[str, str], directory: Path) -> list[str]:
    script = f"source {file}; complete --do-complete {shlex.quote(line)}"
    offered = output(["fish", "--no-config", "--command", script], environment)
    return [each.split("\t")[0] for each in offered.splitlines()]


def by_zsh(line: str, file: Path, environment: dict[str, str], directory: Path) -> list[str]:
    """Type the line and a tab into a terminal, then ^G, which writes the line to a file."""
    typed = directory / "typed"
    (directory / ".zshrc").write_text(f"""
        fpath=({file.parent} $fpath)
        autoload -Uz compinit && compinit -u -D
        finish() {{ print -r -- "$BUFFER" > {typed}; exit }}
        zle -N finish && bindkey '^G' finish
    """)
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", "zsh", "--no-global-rcs", "-i"],
        env={**environment, "ZDOTDIR": str(directory)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
    ):
        os.close(inside)
        os.write(terminal, f"{line}\t\x07".encode())
        with suppress(OSError):  # the shell has closed its end
            while os.read(terminal, 4096):
                pass
    os.close(terminal)
    return typed.read_text().split()


def output(command: list[str | Path], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    ("shell", "complete"), [("bash", by_bash), ("fish", by_fish), ("zsh", by_zsh)]
)
def test_a_shell_completes(
    shell: str,
    complete: Callable[..., list[str]],
    line: str,
    share: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    assert LINES[line] in complete(line, share / COMPLETION_FILES[shell], environment, tmp_path)


def test_nothing_is_said_of_a_command_that_does_not_exist(
    share: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    file = share / COMPLETION_FILES["bash"]
    assert by_bash("nixdock nothing --verb", file, environment, tmp_path) == ["--verbose"]
