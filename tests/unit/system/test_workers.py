"""Worker processes end when their parent does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

# A parent that starts a worker, says its id and waits.
PARENT = """
import os, signal, sys, time
from nixdock.system.workers import end_with_parent
parent = os.getpid()
if os.fork() == 0:
    end_with_parent(parent)
    print(os.getpid(), flush=True)
time.sleep(60)
"""

# One that is gone before its worker asks.
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

# A worker that is told to end between its start and its own handling of signals.
EARLY = """
import os, signal, time
from nixdock.system.workers import end_with_parent, ending_held_back
signal.signal(signal.SIGTERM, lambda *_: print("the parent's handler", flush=True))
parent = os.getpid()
with ending_held_back():
    worker = os.fork()
    if worker == 0:
        time.sleep(0.2)
        end_with_parent(parent)
        time.sleep(60)
    os.kill(worker, signal.SIGTERM)
_, status = os.waitpid(worker, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
with ending_held_back():
    os.kill(os.getpid(), signal.SIGTERM)
    print("held back", flush=True)
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

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells workers of it")


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
def test_a_worker_whose_parent_is_gone_already() -> None:
    done = subprocess.run([sys.executable, "-c", GONE], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b""


def test_signals_of_a_worker() -> None:
    """An interrupt is the parent's to act on; being terminated ends it as it ends any process."""
    done = subprocess.run([sys.executable, "-c", SIGNALS], stdout=subprocess.PIPE, check=False)
    assert done.stdout == b"interrupted\n"
    assert done.returncode == -signal.SIGTERM


def test_signals_are_held_back_while_workers_start() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().splitlines() == [
        str(-signal.SIGTERM),
        "held back",
        "the parent's handler",
    ]
