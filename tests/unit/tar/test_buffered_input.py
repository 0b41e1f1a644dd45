"""Buffered input: reading and skipping are the same for seekable streams and others."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.tar.buffered_input import BufferedInput


class Unseekable(io.BytesIO):
    """A stream like a pipe, which also returns few bytes at a time."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        raise io.UnsupportedOperation

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1000))


STREAMS = pytest.mark.parametrize("stream_type", [io.BytesIO, Unseekable])
DATA = bytes(range(256)) * 300
steps = st.lists(st.tuples(st.booleans(), st.integers(0, 40_000)), max_size=12)


@STREAMS
@given(steps=steps)
def test_reading_and_skipping(stream_type: type[io.BytesIO], steps: list[tuple[bool, int]]) -> None:
    buffered = BufferedInput(stream_type(DATA))
    at = 0
    for skips, size in steps:
        assert buffered.position == at
        if skips:
            enough = at + size <= len(DATA)
            assert buffered.skip(size) is enough
            if not enough:
                return
            at += size
        else:
            data = buffered.read(size)
            assert data == DATA[at : at + size]
            at += len(data)


@STREAMS
def test_the_end_of_the_stream(stream_type: type[io.BytesIO]) -> None:
    buffered = BufferedInput(stream_type(b"abc"))
    assert buffered.read(5) == b"abc"
    assert buffered.read(5) == b""
    assert buffered.read_chunk() == b""
    assert buffered.skip(0)
    assert not buffered.skip(1)


def test_a_seekable_stream_that_was_read_before() -> None:
    stream = io.BytesIO(DATA)
    stream.seek(1000)
    buffered = BufferedInput(stream)
    assert buffered.skip(50_000)
    assert buffered.position == 50_000
    assert buffered.read(3) == DATA[51_000:51_003]
    assert not buffered.skip(len(DATA))
