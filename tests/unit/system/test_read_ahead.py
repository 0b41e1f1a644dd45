from __future__ import annotations

import io
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.system.read_ahead import ReadAhead, read_ahead, reading_in_turn
from nixdock.system.readers import ReadOnlyStream

from ..threads import new_threads


class Failing(ReadOnlyStream):
    """A stream of zeros that fails after so many reads, or never ends."""

    def __init__(self, reads: int | None) -> None:
        super().__init__()
        self.left = reads
        self.reads = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.reads += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise ValueError("the end")
        return len(memoryview(buffer))


@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), min_size=1))
def test_the_bytes_are_the_same_however_they_are_read(data: bytes, sizes: list[int]) -> None:
    source = io.BytesIO(data)
    found = bytearray()
    with ReadAhead(source) as stream:  # type: ignore[arg-type]
        while True:
            for size in sizes:
                if size % 2:
                    found += (piece := stream.read(size))
                    count = len(piece)
                else:
                    buffer = bytearray(size)
                    count = stream.readinto(buffer)
                    found += buffer[:count]
                assert count <= size
                if not count:
                    break
            else:
                continue
            break
        assert stream.read(1) == b""
    assert found == data
    assert source.closed


def test_all_at_once() -> None:
    data = bytes(range(256)) * 20_000
    with ReadAhead(io.BytesIO(data)) as stream:  # type: ignore[arg-type]
        assert stream.readall() == data


def test_an_error_comes_after_the_bytes_before_it() -> None:
    source = Failing(2)
    with ReadAhead(source) as stream:
        count = 0
        with pytest.raises(ValueError, match="the end"):
            while True:
                count += len(stream.read(1000))
        with pytest.raises(ValueError, match="the end"):
            stream.read(1)
    assert count == 2 << 20
    assert source.closed


def test_an_early_end_stops_the_thread() -> None:
    started = new_threads()
    source = Failing(None)
    with ReadAhead(source) as stream:
        assert len(stream.read(10)) == 10
    assert not started()
    assert source.closed
    assert source.reads <= 6


def test_in_turn_the_stream_itself_is_read() -> None:
    source = Failing(1)
    with reading_in_turn():
        with reading_in_turn():
            assert read_ahead(source) is source
        assert read_ahead(source) is source
        found: list[bool] = []
        # Other threads may have cores of their own.
        thread = Thread(target=lambda: found.append(is_read_ahead()))
        thread.start()
        thread.join()
        assert found == [True]
    assert is_read_ahead()


def is_read_ahead() -> bool:
    with read_ahead(Failing(1)) as stream:
        return isinstance(stream, ReadAhead)
