"""Jobs in worker processes."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nixdock.system.forked import CAN_FORK
from nixdock.system.processes import (
    KilledWorkerError,
    map_in_processes,
    shared_lock,
    shared_numbers,
)
from tests.unit.running_forks import running_forks

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="there are no worker processes")


def test_each_job_is_done_once_in_another_process() -> None:
    found = dict(map_in_processes(lambda i: (i * i, os.getpid()), [3, 1, 2, 5], 2))
    assert {i: square for i, (square, _) in found.items()} == {1: 1, 2: 4, 3: 9, 5: 25}
    assert os.getpid() not in {process for _, process in found.values()}
    assert running_forks() == []


def test_a_worker_that_can_open_no_file_says_so() -> None:
    """It has all modules that it needs to send what went wrong."""
    program = """
import resource
from nixdock.system.processes import map_in_processes

def run(i):
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    open("/dev/null")

try:
    list(map_in_processes(run, [0], 1))
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("Too many open files\n", "")


def test_few_jobs_are_done_ahead_of_the_caller() -> None:
    begun = shared_numbers(50)

    def run(i: int) -> int:
        begun[i] = 1
        return i

    results = map_in_processes(run, range(50), 2)
    next(results)
    time.sleep(0.2)
    assert sum(begun) <= 6
    assert len([*results]) == 49
    assert sum(begun) == 50


def test_polling_sees_what_workers_count() -> None:
    numbers, seen = shared_numbers(1), list[int]()

    def run(_: int) -> None:
        numbers[0] = 7
        time.sleep(0.3)

    assert [*map_in_processes(run, [0], 1, lambda: seen.append(numbers[0]))] == [(0, None)]
    assert 7 in seen


def test_an_error_ends_no_workers_of_other_threads() -> None:
    """Both have workers when one fails: its first one was there before those of the other."""
    states = shared_numbers(3)
    first, other, failed = range(3)

    def fail(_: int) -> None:
        states[first] = 1
        while not states[other]:
            time.sleep(0.01)
        raise ValueError("broken")

    def wait(i: int) -> int:
        states[other] = 1
        while not states[failed]:
            time.sleep(0.01)
        return i

    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(lambda: dict(map_in_processes(fail, [0], 1)))
        while not states[first]:
            time.sleep(0.01)
        waiting = threads.submit(lambda: dict(map_in_processes(wait, [0, 1, 2], 2)))
        assert isinstance(failing.exception(), ValueError)
        states[failed] = 1
        assert waiting.result() == {0: 0, 1: 1, 2: 2}


def test_an_error_does_not_wait() -> None:
    def run(i: int) -> None:
        if i:
            raise ValueError("broken")
        time.sleep(3600)

    with pytest.raises(ValueError, match="broken"):
        dict(map_in_processes(run, [0, 1], 2))
    assert running_forks() == []


def test_an_error_says_where_it_was_raised() -> None:
    def fail_here(_: int) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        dict(map_in_processes(fail_here, [0], 1))
    (place,) = caught.value.__notes__
    assert "in fail_here" in place


def test_what_pickle_does_not_take() -> None:
    class OwnError(Exception):
        pass

    def fail(_: int) -> None:
        raise OwnError("broken")

    with pytest.raises(RuntimeError, match=r"OwnError\('broken'\)"):
        dict(map_in_processes(fail, [0], 1))
    with pytest.raises(AttributeError, match="lambda"):
        dict(map_in_processes(lambda _: lambda: None, [0], 1))
    assert running_forks() == []


class TwoPartError(Exception):
    """An error that pickle packs, but can't unpack."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def test_an_error_that_can_not_be_unpacked() -> None:
    def fail(_: int) -> None:
        raise TwoPartError("this", "that")

    with pytest.raises(RuntimeError, match=r"TwoPartError\('this and that'\)"):
        dict(map_in_processes(fail, [0], 1))


def test_results_larger_than_a_pipe() -> None:
    found = dict(map_in_processes(lambda i: bytes([i]) * 3_000_000, range(9), 2))
    assert found == {i: bytes([i]) * 3_000_000 for i in range(9)}


def test_a_caller_that_wants_no_more_ends_the_workers() -> None:
    def run(i: int) -> int:
        if i:
            time.sleep(3600)
        return i

    for found in map_in_processes(run, range(4), 2):
        assert found == (0, 0)
        break
    assert running_forks() == []


def test_a_killed_worker() -> None:
    with pytest.raises(KilledWorkerError):
        dict(map_in_processes(lambda _: os.kill(os.getpid(), signal.SIGKILL), [0, 1], 2))
    assert running_forks() == []


@pytest.mark.parametrize("killed", [0, 1])
def test_a_worker_that_is_killed_while_it_waits(killed: int) -> None:
    """The other one does not wait for ever."""
    results = map_in_processes(operator.neg, [5], 2)
    assert next(results) == (5, -5)
    time.sleep(0.2)
    os.kill(running_forks()[killed], signal.SIGKILL)
    assert [*results] == []
    assert running_forks() == []


@pytest.mark.parametrize("polled", [False, True])
def test_a_killed_worker_whose_pipe_others_keep_open(polled: bool) -> None:
    others = shared_numbers(1)

    def run(_: int) -> None:
        if (child := os.fork()) == 0:
            time.sleep(3600)
        others[0] = child
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(KilledWorkerError):
        dict(map_in_processes(run, [0], 1, (lambda: None) if polled else None))
    # It is still there.
    os.kill(others[0], signal.SIGKILL)


class TestWhereProcessesCanNotBeForked:
    @pytest.fixture(autouse=True)
    def no_forks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("nixdock.system.processes.CAN_FORK", False)

    def test_threads_do_the_jobs(self) -> None:
        found = dict(map_in_processes(lambda i: (-i, threading.get_ident()), range(5), 2))
        assert {i: result for i, (result, _) in found.items()} == {i: -i for i in range(5)}
        own = threading.get_ident()
        assert own not in {thread for _, thread in found.values()}

    def test_an_error_does_not_wait(self) -> None:
        end = threading.Event()

        def run(i: int) -> None:
            if i:
                raise ValueError("broken")
            end.wait(3600)

        with pytest.raises(ValueError, match="broken"):
            dict(map_in_processes(run, [0, 1], 2))
        end.set()

    def test_few_jobs_are_done_ahead_of_the_caller(self) -> None:
        begun: list[int] = []
        results = map_in_processes(begun.append, range(50), 2)
        next(results)
        time.sleep(0.2)
        assert len(begun) <= 6
        assert len([*results]) == 49
        assert sorted(begun) == [*range(50)]

    def test_polling(self) -> None:
        calls: list[None] = []
        results = map_in_processes(lambda _: time.sleep(0.3), [0], 1, lambda: calls.append(None))
        assert [*results] == [(0, None)]
        assert len(calls) > 1


def test_processes_take_turns_with_a_lock() -> None:
    count = shared_numbers(1)
    with shared_lock() as lock, ThreadPoolExecutor(1) as threads:

        def run(_: int) -> None:
            for _ in range(20):
                with lock:
                    before = count[0]
                    time.sleep(0.001)
                    count[0] = before + 1

        with lock:
            done = threads.submit(dict, map_in_processes(run, range(3), 3))
            time.sleep(0.2)
            assert count[0] == 0
        done.result()
    assert count[0] == 60


def test_a_killed_process_lets_go_of_a_lock() -> None:
    with shared_lock() as lock:

        def run(_: int) -> None:
            with lock:
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(KilledWorkerError):
            dict(map_in_processes(run, [0], 1))
        with lock:
            pass


def test_semaphores_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are files in /dev/shm, which is not everywhere, or can't be written to."""

    def missing(*_: object) -> None:
        raise OSError("no semaphores")

    monkeypatch.setattr("_multiprocessing.SemLock", missing)
    with shared_lock() as lock:

        def run(i: int) -> int:
            with lock:
                return i

        assert sorted(map_in_processes(run, range(5), 2)) == [(i, i) for i in range(5)]
