"""Jobs in processes of their own, which send what they find out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.system.forked import Send, forked


def test_what_a_job_sends_arrives_in_order() -> None:
    def job(send: Send) -> None:
        for value in (os.getppid(), "two", PackError("sent", path="/a")):
            send(value)

    descriptors = len(os.listdir("/proc/self/fd"))
    with forked(job) as running:
        parent, two, error = running.received()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert (parent, two) == (os.getpid(), "two")
    assert (str(error), error.path) == ("sent", "/a")


def test_several_threads_may_send() -> None:
    def job(send: Send) -> None:
        threads = [threading.Thread(target=send, args=(bytes([i]) * 100_000,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with forked(job) as running:
        values = {*running.received()}
    assert values == {bytes([i]) * 100_000 for i in range(8)}


def test_what_a_job_raises_is_raised() -> None:
    def job(send: Send) -> None:
        send(1)
        raise PackError("can't read a file", path="/a")

    with forked(job) as running:
        received = running.received()
        assert next(received) == 1
        with pytest.raises(PackError, match="can't read") as caught:
            next(received)
    assert caught.value.path == "/a"


def test_what_pickle_does_not_take_is_raised_as_text() -> None:
    class OwnError(Exception):
        pass

    def job(_: Send) -> None:
        raise OwnError("broken")

    with forked(job) as running, pytest.raises(RuntimeError, match=r"OwnError\('broken'\)"):
        next(running.received())


def test_a_job_that_is_killed_is_not_done() -> None:
    def job(send: Send) -> None:
        send(1)
        os.kill(os.getpid(), signal.SIGKILL)

    with forked(job) as running:
        received = running.received()
        assert next(received) == 1
        with pytest.raises(EOFError):
            next(received)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_job_ends_with_the_block_and_cleans_up_if_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    if deaf:
        monkeypatch.setattr("nixdock.system.forked._PATIENCE", 0.01)

    def job(send: Send) -> None:
        if deaf:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            send(os.getpid())
            while True:
                time.sleep(60)
        finally:
            (tmp_path / "cleaned").touch()

    with forked(job) as running:
        process = next(running.received())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert (tmp_path / "cleaned").exists() != deaf


GROUP = """
import os, signal, time
from nixdock.system.forked import forked

def job(send):
    send(os.getpid())
    time.sleep(1)
    send("done")

signal.signal(signal.SIGTERM, signal.SIG_IGN)
with forked(job) as running:
    received = running.received()
    next(received)
    os.killpg(0, signal.SIGTERM)
    print(*received, flush=True)
with forked(job) as running:
    process = next(running.received())
    begun = time.monotonic()
print(time.monotonic() - begun < 0.9, not os.path.exists(f"/proc/{process}"))
"""


def test_a_job_ignores_what_its_parent_ignores() -> None:
    """One signal for the whole group ends neither, and the parent can end the job all the same."""
    done = subprocess.run(
        [sys.executable, "-c", GROUP],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("done\nTrue True\n", "")
