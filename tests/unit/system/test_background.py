"""Calls in a background thread: their order, their errors, and the views that they get."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest

from nixdock.system.background import Background, in_background
from nixdock.system.buffers import Write
from nixdock.tar.header import Headers, MemberMeta
from nixdock.tar.walk import walk
from nixdock.tar.write import write_tar

from ..threads import new_threads


def test_order_is_kept() -> None:
    out = io.BytesIO()
    with in_background(out.write) as write:
        for i in range(200):
            write(b"%d," % i)
        write(b"")
    assert out.getvalue() == b"".join(b"%d," % i for i in range(200))


def test_no_calls() -> None:
    calls: list[object] = []
    with in_background(calls.append):
        pass
    assert calls == []


def test_the_thread_starts_with_the_first_call() -> None:
    started = new_threads()
    with in_background(lambda data: None) as write:
        assert not started()
        write(b"x")
        assert len(started()) == 1


def test_an_error_of_the_block_before_the_first_call_is_passed_on() -> None:
    with pytest.raises(KeyError), in_background(lambda data: None):
        raise KeyError


def test_calls_are_in_another_thread() -> None:
    threads = set()
    started = new_threads()
    with in_background(lambda data: threads.add(threading.current_thread())) as write:
        write(b"x")
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    assert not started()


def test_a_view_is_unused_after_two_more_calls() -> None:
    """One call runs and one waits, so three buffers can be used in turn."""
    seen: list[bytes] = []

    def slow(data: memoryview | bytes) -> None:
        time.sleep(0.002)
        seen.append(bytes(data))

    buffers = [bytearray(1) for _ in range(3)]
    with in_background(slow) as write:
        for i in range(60):
            buffers[i % 3][0] = i
            write(memoryview(buffers[i % 3]))
    assert seen == [bytes([i]) for i in range(60)]


def test_a_tar_passes_through_two_threads_unchanged(tmp_path: Path) -> None:
    """No buffer is reused while a thread has a view of it, whichever thread is slow."""
    for i in range(18):
        (tmp_path / f"{i:02}").write_bytes(bytes([i]) * 900_000)
    entries = list(walk(os.fsencode(tmp_path), b"/t"))
    expected = hashlib.sha256()
    write_tar(entries, Headers(MemberMeta()), expected.update)
    for delays in ((0.003, 0.0), (0.0, 0.003)):
        digests = [hashlib.sha256(), hashlib.sha256()]

        def delayed(digest: hashlib._Hash, delay: float, then: Write | None = None) -> Write:
            def write(data: memoryview | bytes) -> None:
                time.sleep(delay)
                digest.update(data)
                if then is not None:
                    then(data)

            return write

        with (
            in_background(delayed(digests[1], delays[1])) as last,
            in_background(delayed(digests[0], delays[0], last)) as first,
        ):
            write_tar(entries, Headers(MemberMeta()), first)
        assert [digest.hexdigest() for digest in digests] == [expected.hexdigest()] * 2


def _full(data: memoryview | bytes) -> None:
    raise OSError(28, "No space left on device")


def test_an_error_is_raised_by_the_next_call() -> None:
    calls = 0

    def write_much(write: Write) -> None:
        nonlocal calls
        for calls in range(1000):  # noqa: B007
            write(b"x")

    with pytest.raises(OSError, match="No space left"), in_background(_full) as write:
        write_much(write)
    assert calls < 10


def test_an_error_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="No space left"), in_background(_full) as write:
        write(b"x")


def test_after_an_error_no_function_is_called() -> None:
    calls: list[object] = []

    def write(data: memoryview | bytes) -> None:
        calls.append(data)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), in_background(write) as write_later:
        for _ in range(5):
            write_later(b"x")
    assert len(calls) == 1


def test_an_error_of_the_block_is_passed_on() -> None:
    started = new_threads()
    with pytest.raises(KeyError), in_background(lambda data: None) as write:
        write(b"x")
        raise KeyError
    assert not started()


@pytest.mark.slow
def test_a_call_that_hangs_does_not_delay_an_error() -> None:
    release = threading.Event()
    # Far longer than pytest's timeout: a test that waits for it fails.
    with pytest.raises(KeyboardInterrupt), in_background(lambda data: release.wait(3600)) as write:
        write(b"running")
        write(b"waiting")
        raise KeyboardInterrupt
    release.set()


def test_calls_of_several_functions_keep_their_order() -> None:
    calls: list[tuple[str, object]] = []
    with Background() as background:
        for i in range(20):
            background.later(lambda data: calls.append(("one", bytes(data))), b"%d" % i)
            background.later(lambda data: calls.append(("other", bytes(data))), b"%d" % i)
    assert calls == [(name, b"%d" % i) for i in range(20) for name in ("one", "other")]


def test_waiting_for_all_calls() -> None:
    done: list[bytes] = []

    def slow(data: memoryview | bytes) -> None:
        time.sleep(0.01)
        done.append(bytes(data))

    with pytest.raises(OSError, match="No space left"), Background() as background:
        background.wait()
        for i in range(3):
            background.later(slow, b"%d" % i)
        background.wait()
        assert done == [b"0", b"1", b"2"]
        background.later(_full, b"")
        background.wait()
        pytest.fail("the error must have been raised")


def test_successive_tars_pass_through_a_slow_thread_unchanged(tmp_path: Path) -> None:
    """Buffers of one tar may still be in use when the next one begins."""
    expected, found = hashlib.sha256(), hashlib.sha256()

    def slow(data: memoryview | bytes) -> None:
        time.sleep(0.002)
        found.update(data)

    with in_background(slow) as write:
        for i in range(12):
            (tmp_path / "file").write_bytes(bytes([i]) * 700_000)
            entries = list(walk(os.fsencode(tmp_path), b"/t"))
            write_tar(entries, Headers(MemberMeta()), expected.update)
            write_tar(entries, Headers(MemberMeta()), write)
    assert found.hexdigest() == expected.hexdigest()
