"""Forks of this process, and the pipes through which they send objects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from nixdock.system.children import pipe, start_child
from nixdock.system.forked import CAN_FORK
from tests.unit.running_forks import running_forks

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="there are no child processes")


def test_a_child_sends_objects() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    reader, writer = pipe()

    def send() -> None:
        for value in (1, "two", bytes(200_000)):
            writer.send(value)

    with reader:
        with writer:
            child = start_child(send)
        assert [reader.receive() for _ in range(3)] == [1, "two", bytes(200_000)]
        with pytest.raises(EOFError):
            reader.receive()
    child.wait()
    assert not child.is_alive()
    assert running_forks() == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_half_an_object_is_none() -> None:
    reader, writer = pipe()
    with reader:
        with writer:
            os.write(writer.fileno(), (100).to_bytes(8, "little") + b"half")
        with pytest.raises(EOFError):
            reader.receive()


def test_waiting_for_a_while() -> None:
    child = start_child(lambda: time.sleep(3600))
    child.wait(0.05)
    assert child.is_alive()
    assert running_forks() == [child.pid]
    child.signal(signal.SIGKILL)
    child.wait(60)
    assert not child.is_alive()
    # Not to another process that may have the ID now.
    child.signal(signal.SIGKILL)
    child.wait()


def test_a_child_that_somebody_else_has_waited_for() -> None:
    child = start_child(lambda: None)
    os.waitpid(child.pid, 0)
    child.wait()
    assert not child.is_alive()


PROGRAM = """
import sys
from nixdock.system.children import start_child

def run():
    print("in the child")
    {end}

print("before")
try:
    child = start_child(run)
    child.wait()
finally:
    print("after", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("end", "said"), [("pass", ""), ("sys.exit(3)", ""), ("raise ValueError('broken')", "broken")]
)
def test_a_child_runs_nothing_of_its_parent(end: str, said: str) -> None:
    """What is in buffers comes once, and the blocks around the call end in the parent alone."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "before\nin the child\n"
    assert done.stderr.count("after") == 1
    assert said in done.stderr
    assert ("Traceback" in done.stderr) == bool(said)
