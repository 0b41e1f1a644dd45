"""The buffer pool: a buffer is reused once no view of it is alive, and never before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.system.buffers import BUFFER_SIZE, BufferPool


def buffers_of(views: list[memoryview]) -> set[int]:
    """Return the identities of the buffers behind `views`."""
    return {id(view.obj) for view in views}


def test_a_buffer_is_whole_and_writable() -> None:
    pool = BufferPool()
    for _ in range(3):
        view = pool.free_buffer()
        assert len(view) == BUFFER_SIZE
        view[:1] = view[-1:] = b"x"
        del view


def test_buffers_with_a_view_are_not_handed_out() -> None:
    pool = BufferPool()
    views = [pool.free_buffer() for _ in range(5)]
    assert len(buffers_of(views)) == 5


@pytest.mark.parametrize(
    "derived",
    [
        lambda view: view[10:20],
        lambda view: view[10:20][2:4],
        lambda view: view[:0],
        lambda view: view[::2],
        lambda view: view.toreadonly(),
        memoryview,
        lambda view: view.cast("H"),
        lambda view: [view[1:2]],
        lambda view: {"key": (view[1:2],)},
        lambda view: lambda: view,
    ],
    ids=["slice", "slice of a slice", "empty", "step", "read-only", "view", "cast", "list", "dict",
         "closure"],
)  # fmt: skip
def test_anything_that_refers_to_a_buffer_keeps_it(derived: Callable[[memoryview], object]) -> None:
    pool = BufferPool()
    view = pool.free_buffer()
    buffer = id(view.obj)
    kept = derived(view)
    del view
    others = [pool.free_buffer() for _ in range(3)]
    assert buffer not in buffers_of(others)
    del kept
    assert buffer in buffers_of([pool.free_buffer()])


def test_a_view_in_a_queue_keeps_its_buffer() -> None:
    pool = BufferPool()
    pending: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    for number in range(4):
        view = pool.free_buffer()
        view[:1] = bytes([number])
        pending.put(view[:1])
        del view
    assert [bytes(pending.get()) for _ in range(4)] == [b"\0", b"\1", b"\2", b"\3"]


def test_a_view_in_another_thread_keeps_its_buffer() -> None:
    pool = BufferPool()
    received: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    release = threading.Event()
    contents: list[bytes] = []

    def consume() -> None:
        view = received.get()[5:10]
        assert release.wait(60)
        contents.append(bytes(view))

    thread = threading.Thread(target=consume)
    thread.start()
    view = pool.free_buffer()
    buffer = id(view.obj)
    view[:10] = b"0123456789"
    received.put(view)
    del view
    for _ in range(20):
        other = pool.free_buffer()
        assert id(other.obj) != buffer
        other[:10] = b"----------"
        del other
    release.set()
    thread.join()
    assert contents == [b"56789"]
    assert buffer in buffers_of([pool.free_buffer(), pool.free_buffer()])


def test_buffers_are_reused_once_their_views_are_gone() -> None:
    pool = BufferPool()
    views = [pool.free_buffer() for _ in range(3)]
    buffers = buffers_of(views)
    views.clear()
    for _ in range(50):
        view = pool.free_buffer()
        assert id(view.obj) in buffers
        del view


def test_a_released_view_frees_its_buffer() -> None:
    pool = BufferPool()
    with pool.free_buffer() as view:
        buffer = id(view.obj)
    assert buffers_of([pool.free_buffer()]) == {buffer}


def test_a_consumer_that_is_one_buffer_behind_needs_two_buffers() -> None:
    pool = BufferPool()
    behind = pool.free_buffer()
    buffers = buffers_of([behind])
    for _ in range(50):
        view = pool.free_buffer()
        buffers |= buffers_of([view])
        behind = view
        del view
    del behind
    assert len(buffers) == 2


def test_threads_do_not_share_buffers() -> None:
    pool = BufferPool()
    view = pool.free_buffer()
    mine = id(view.obj)
    del view
    theirs: list[memoryview] = []
    thread = threading.Thread(target=lambda: theirs.append(pool.free_buffer()))
    thread.start()
    thread.join()
    # The view outlives the other thread, and with it that thread's part of the pool.
    theirs[0][:1] = b"x"
    assert bytes(theirs[0][:1]) == b"x"
    assert mine not in buffers_of(theirs)


@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40))
def test_live_views_never_share_a_buffer(steps: list[int | None]) -> None:
    """A step is None to take a buffer, or a number to drop a view."""
    pool = BufferPool()
    views: list[tuple[memoryview, bytes]] = []
    for number, step in enumerate(steps):
        if step is None:
            view = pool.free_buffer()[number:][:4]
            mark = number.to_bytes(4, "big")
            view[:] = mark
            views.append((view, mark))
            del view
        elif views:
            del views[step % len(views)]
        assert len(buffers_of([view for view, _ in views])) == len(views)
        assert all(bytes(view) == mark for view, mark in views)
