"""Supervised commands leave no process behind, however they or their starter end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nixdock.system.commands import run_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
]

# A daemon: a process in a session of its own, whose parent has ended. It writes its process ID.
DAEMON = (
    "(setsid sh -c 'echo $$ > pid; exec sleep 1000' &); while ! test -s pid; do sleep 0.01; done"
)

START = """
import sys
from pathlib import Path
from nixdock.system.commands import run_command
run_command(["sh", "-c", sys.argv[1]], directory=Path(sys.argv[2]), supervised=True)
"""


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def ends(directory: Path) -> bool:
    """Tell whether the daemon ends within some seconds."""
    pid = int((directory / "pid").read_text())
    deadline = time.monotonic() + 20
    while not has_ended(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return has_ended(pid)


@pytest.mark.parametrize(("end", "status"), [("exit 7", 7), ("kill -KILL $$", 137), (":", 0)])
def test_the_status_and_the_end_of_daemons(tmp_path: Path, end: str, status: int) -> None:
    result = run_command(["sh", "-c", f"{DAEMON}; {end}"], directory=tmp_path, supervised=True,
                         output_to_stderr=True)  # fmt: skip
    assert result.status == status
    assert ends(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_starter(tmp_path: Path, number: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", START, f"trap '' TERM; {DAEMON}; touch ready; sleep 1000", tmp_path]
    )
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    starter.send_signal(number)
    starter.wait()
    assert ends(tmp_path)


def test_output_is_captured() -> None:
    result = run_command(["sh", "-c", "echo out; echo err >&2"], supervised=True)
    assert (result.output, result.error_output) == (b"out\n", b"err\n")


def test_a_command_may_wait_for_a_daemon_to_be_gone(tmp_path: Path) -> None:
    script = f"{DAEMON}; kill $(cat pid); while kill -0 $(cat pid); do sleep 0.01; done"
    result = run_command(["sh", "-c", script], directory=tmp_path, supervised=True, timeout=20)
    assert result.status == 0
