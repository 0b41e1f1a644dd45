"""Worker processes end when their parent does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

# A parent that starts a worker, prints its process ID and waits.
PARENT = """
import os, signal, sys, time
from nixdock.system.workers import end_with_parent
parent = os.getpid()
if os.fork() == 0:
    end_with_parent(parent)
    print(os.getpid(), flush=True)
time.sleep(60)
"""

# A parent that ends before its worker calls end_with_parent.
GONE = """
import os, sys, time
from nixdock.system.workers import end_with_parent
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.001)
end_with_parent(parent)
print("still here", flush=True)
"""

# A worker that gets SIGTERM before it calls end_with_parent.
EARLY = """
import os, signal, time
from nixdock.system.workers import end_with_parent, termination_signals_blocked
signal.signal(signal.SIGTERM, lambda *_: print("the parent's handler", flush=True))
parent = os.getpid()
with termination_signals_blocked():
    worker = os.fork()
    if worker == 0:
        time.sleep(0.2)
        end_with_parent(parent)
        time.sleep(60)
    os.kill(worker, signal.SIGTERM)
_, status = os.waitpid(worker, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
with termination_signals_blocked():
    os.kill(os.getpid(), signal.SIGTERM)
    print("blocked", flush=True)
"""

SIGNALS = """
import os, signal
from nixdock.system.workers import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: print("the parent's handler", flush=True))
end_with_parent(os.getppid())
os.kill(os.getpid(), signal.SIGINT)
print("interrupted", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("terminated", flush=True)
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@linux_only
@pytest.mark.parametrize("cause", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent(cause: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert _runs(worker)
        parent.send_signal(cause)
        parent.wait(10)
        deadline = time.monotonic() + 10
        while _runs(worker) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _runs(worker)


@linux_only
def test_a_worker_whose_parent_has_ended_already() -> None:
    done = subprocess.run([sys.executable, "-c", GONE], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b""


def test_signals_of_a_worker() -> None:
    """SIGINT is left to the parent; SIGTERM has its default action."""
    done = subprocess.run([sys.executable, "-c", SIGNALS], stdout=subprocess.PIPE, check=False)
    assert done.stdout == b"interrupted\n"
    assert done.returncode == -signal.SIGTERM


def test_a_worker_ignores_what_its_parent_ignores() -> None:
    """The parent of both may send SIGTERM to the whole group, and want neither to end."""
    program = SIGNALS.replace(
        'lambda *_: print("the parent\'s handler", flush=True)', "signal.SIG_IGN"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"interrupted\nterminated\n"


def test_signals_are_blocked_while_workers_start() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().splitlines() == [
        str(-signal.SIGTERM),
        "blocked",
        "the parent's handler",
    ]
