"""Answers without an end, by a clock that passes with what comes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from nixdock.network.answers import TooSlowError
from nixdock.network.pools import Answer, Watch

from .clock import Clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LIMIT = 60.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(io.RawIOBase):
    """What a server sends; each piece comes some seconds after the last one."""

    def __init__(self, pieces: Iterator[bytes], clock: Clock, seconds: float) -> None:
        super().__init__()
        self._pieces = pieces
        self._clock = clock
        self._seconds = seconds
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._left:
            self._clock.time += self._seconds
            self._left = next(self._pieces, b"")
        view = memoryview(buffer).cast("B")
        piece, self._left = self._left[: len(view)], self._left[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Do as a socket does."""
        return io.BufferedReader(self)


def come(*pieces: Iterable[bytes], seconds: float = 1.0) -> tuple[Answer, Watch, Clock]:
    clock = Clock()
    watch = Watch(LIMIT, clock.now)
    wire = Wire(itertools.chain.from_iterable(pieces), clock, seconds)
    return Answer(watch, wire, method="GET"), watch, clock


@pytest.mark.parametrize(
    "pieces",
    [
        [[b"HTTP/1.1 200 OK\r\nX: "], itertools.repeat(b"a")],
        [[b"H"], itertools.repeat(b"T")],
        [itertools.repeat(CONTINUE)],
    ],
    ids=["header", "status", "continue"],
)
def test_a_head_without_an_end_is_given_up(pieces: list[Iterable[bytes]]) -> None:
    answer, _, clock = come(*pieces)
    begun = clock.time
    with pytest.raises(TooSlowError):
        answer.begin()
    assert clock.time - begun <= LIMIT + 2


@pytest.mark.parametrize(
    "pieces",
    [
        [[b"2;"], itertools.repeat(b"a")],
        [[b"0\r\n"], itertools.repeat(b"X: y\r\n")],
    ],
    ids=["size", "trailers"],
)
def test_what_is_no_body_and_has_no_end_is_given_up(pieces: list[Iterable[bytes]]) -> None:
    answer, watch, clock = come([CHUNKED, b"2\r\n{}\r\n"], *pieces)
    answer.begin()
    begun = clock.time
    watch.begin()
    assert answer.read1(9) == b"{}"
    watch.begin()
    with pytest.raises(TooSlowError):
        answer.read1(9)
    assert clock.time - begun <= LIMIT + 3


def test_an_answer_that_comes_slowly_but_in_time_is_read() -> None:
    """Each step has its own time, and what comes before a step counts for none."""
    pieces = [CONTINUE, CHUNKED, *[b"1\r\n", b"a\r\n"] * 50, b"0\r\n", b"\r\n"]
    answer, watch, clock = come(pieces, seconds=25.0)
    answer.begin()
    data = b""
    while True:
        watch.begin()
        if not (piece := answer.read1(9)):
            break
        data += piece
        clock.time += 1000.0
    assert data == b"a" * 50
    answer.close()
