"""Signals become exceptions in the main thread, wherever it is."""

import signal
import subprocess
import sys

import pytest

# The signal arrives in a finalizer, where Python drops the exception of its handler.
_PROGRAM = """
import signal, sys, time
from nixdock.system.termination import handle_termination

class Finalized:
    def __del__(self):
        signal.raise_signal({number})
        for _ in range(1000): pass

handle_termination()
try:
    Finalized()
    time.sleep(30)
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_in_a_finalizer_ends_the_process(number: signal.Signals) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(number=int(number))],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.stdout == "cleaned up\n"
    if number == signal.SIGINT:
        assert (result.returncode, "KeyboardInterrupt" in result.stderr) == (-signal.SIGINT, True)
    else:
        assert (result.returncode, result.stderr) == (128 + number, "")


def test_other_dropped_exceptions_are_still_shown() -> None:
    program = _PROGRAM.replace("signal.raise_signal({number})", "raise ValueError('lost')")
    result = subprocess.run(
        [sys.executable, "-c", program.replace("sleep(30)", "sleep(0)")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (result.returncode, "ValueError: lost" in result.stderr) == (0, True)


def test_an_ignored_signal_stays_ignored() -> None:
    program = """
import signal
from nixdock.system.termination import handle_termination
signal.signal(signal.SIGHUP, signal.SIG_IGN)
handle_termination()
signal.raise_signal(signal.SIGHUP)
"""
    result = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)
    assert result.returncode == 0


def test_programs_are_waited_for_although_the_starter_ignores_their_ends() -> None:
    """Otherwise the system forgets their exit statuses, and Python takes each for a success."""
    program = """
import signal, subprocess
from nixdock.system.termination import handle_termination
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
handle_termination()
print(subprocess.run(["false"]).returncode)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=20, check=False
    )
    assert result.stdout == b"1\n"
