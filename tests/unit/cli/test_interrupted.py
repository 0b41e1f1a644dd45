"""Ctrl-C never shows a traceback, however early it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .program import environment

# Runs `nixdock COMMAND`; a signal comes when MODULE is about to be loaded.
_PROGRAM = """
import runpy, signal, sys

class Interrupting:
    def find_spec(name, path, target=None):
        if name == MODULE:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
sys.argv = ["nixdock", COMMAND]
runpy.run_module("nixdock", run_name="__main__")
"""


def interrupted(
    module: str, before: str = "import signal", command: str = "schema"
) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    names = f"MODULE, COMMAND = {module!r}, {command!r}"
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{names}\n{_PROGRAM}"],
        env=environment(PYTHONPATH=str(root)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "module", ["nixdock.cli", "click", "nixdock.cli.streams", "nixdock.system.termination"]
)
def test_while_the_program_is_loaded(module: str) -> None:
    done = interrupted(module)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_while_a_command_is_loaded() -> None:
    done = interrupted("nixdock.cli.schema")
    assert (done.returncode, done.stderr) == (130, "\nerror: interrupted\n")


def test_while_a_module_in_c_loads_another_one() -> None:
    done = interrupted("json", command="load")
    assert (done.returncode, done.stderr) == (130, "\nerror: interrupted\n")


@pytest.mark.parametrize("module", ["nixdock.cli", "nixdock.cli.schema"])
def test_an_ignored_signal_stays_ignored(module: str) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = interrupted(module, ignoring)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{")


def test_little_is_loaded_before() -> None:
    """Until then, Python's own handler shows a traceback."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sys, nixdock; print(*sys.modules)"],
        env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"typing", "re", "enum", "click"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("command", ["export", "sbom", "serve", "sign"])
def test_orjson_is_loaded_while_signals_are_held(command: str) -> None:
    """It takes the exception of a signal for a failure of its own, and crashes."""
    script = (
        "import sys; from nixdock.cli import main;"
        f"main.get_command(None, {command!r}); print('orjson' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
