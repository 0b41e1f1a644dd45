"""Bodies whose transfer breaks, again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from nixdock.errors import RegistryError
from nixdock.network.answers import Response
from nixdock.network.resumed import ResumedReader
from nixdock.network.retrying import Patience

from .clock import Clock

DATA = bytes(range(256)) * 4096


class Answer:
    """An answer with the data from `first` on, which breaks after so many bytes.

    It has no more than `most` bytes. Once all are there, it breaks if that is `breaks_at_end`.
    """

    def __init__(
        self, first: int, breaks_after: int, most: int, *, breaks_at_end: bool = False
    ) -> None:
        self.status = 206 if first else 200
        self.headers = {"Content-Range": f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"}
        if first >= len(DATA):
            self.status, self.headers = 416, {"Content-Range": f"bytes */{len(DATA)}"}
        self._at = first
        self._last = min(first + most, len(DATA))
        self._end = min(first + breaks_after, self._last)
        self._breaks = self._end < self._last or breaks_at_end
        self.closed = False

    def read(self, size: int) -> bytes:
        assert self.status != 416
        if self._at == self._end and self._breaks:
            raise RegistryError("broken", place="r.example", is_broken=True)
        piece = DATA[self._at : min(self._at + size, self._end)]
        self._at += len(piece)
        return piece

    def readinto(self, buffer: memoryview) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.closed = True


class Server:
    """Breaks each transfer after what `breaks_after` says of the number of the request."""

    def __init__(self, breaks_after: Callable[[int], int], *, ignores_range: bool = False) -> None:
        self.breaks_after = breaks_after
        # Where each answer begins, whatever is asked for.
        self.first: int | None = 0 if ignores_range else None
        self.answers: list[Answer] = []
        # How many bytes an answer with a part of the data has, and whether its end is broken.
        self.most = 1 << 30
        self.breaks_at_end = False
        self.clock = Clock()

    def ask(self, start: int, _patience: Patience) -> Response:
        first = start if self.first is None else self.first
        most = self.most if first else 1 << 30
        breaks_after = self.breaks_after(len(self.answers))
        self.answers.append(Answer(first, breaks_after, most, breaks_at_end=self.breaks_at_end))
        return cast("Response", self.answers[-1])

    def reader(self, attempts: int = 5) -> ResumedReader:
        return ResumedReader(
            self.ask,
            lambda: Patience(self.clock.pace(), attempts),
            lambda at: RegistryError(f"no byte {at}", place="r.example"),
        )


def whole(reader: ResumedReader, *, into: bool) -> bytes:
    if not into:
        return reader.readall()
    data, buffer = b"", bytearray(70_000)
    while count := reader.readinto(buffer):
        data += buffer[:count]
    return data


@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("ignores_range", [False, True])
def test_it_goes_on_where_it_stopped(into: bool, ignores_range: bool) -> None:
    """Also if the transfer breaks while what has come before is skipped."""
    sizes = [300_000, 200_000, 0, 310_000, 1 << 30]
    server = Server(sizes.__getitem__, ignores_range=ignores_range)
    with server.reader() as reader:
        assert whole(reader, into=into) == DATA
    assert all(answer.closed for answer in server.answers)


def test_a_server_that_drips_is_given_up() -> None:
    server = Server(lambda _: 1)
    with server.reader(attempts=5) as reader, pytest.raises(RegistryError, match="broken"):
        reader.readall()
    assert len(server.answers) == 5
    assert server.clock.slept == [2.0, 4.0, 8.0]


def test_progress_makes_up_for_breaks() -> None:
    server = Server(lambda _: 1 << 17)
    with server.reader(attempts=2) as reader:
        assert reader.readall() == DATA
    assert len(server.answers) == 8
    assert server.clock.slept == []


def test_time_runs_out_only_without_progress() -> None:
    server = Server(lambda number: 1 << 17 if number < 3 else 1)
    with server.reader(attempts=100) as reader, pytest.raises(RegistryError, match="broken"):
        while reader.read(1 << 16):
            server.clock.time += 1000
    # For each break after much, there are 15 minutes, and then for all that gain nothing.
    assert reader.at > 3 << 17
    assert sum(server.clock.slept) == 0.0


def test_a_server_that_breaks_for_a_quarter_of_an_hour_is_given_up() -> None:
    server = Server(lambda _: 1)
    with server.reader(attempts=100) as reader, pytest.raises(RegistryError, match="broken"):
        reader.readall()
    assert 800 < sum(server.clock.slept) <= 900


def test_requests_and_breaks_are_counted_together() -> None:
    server = Server(lambda _: 0)

    def ask(start: int, patience: Patience) -> Response:
        # As if the registry had answered with an error at first.
        if not patience.lasts():
            raise RegistryError("no answer", place="r.example")
        return server.ask(start, patience)

    def lacking(at: int) -> RegistryError:
        return RegistryError(f"no byte {at}", place="r.example")

    with (
        ResumedReader(ask, lambda: Patience(server.clock.pace(), 5), lacking) as reader,
        pytest.raises(RegistryError, match="no answer"),
    ):
        reader.readall()
    assert len(server.answers) == 2


@pytest.mark.parametrize("into", [False, True])
def test_nothing_is_lacking_if_only_the_end_of_the_answer_was(into: bool) -> None:
    server = Server(lambda _: 1 << 30)
    server.breaks_at_end = True
    with server.reader() as reader:
        assert whole(reader, into=into) == DATA
        assert reader.read(1) == b""
        reader.move(7)
        assert reader.read(2) == DATA[7:9]
    assert [answer.status for answer in server.answers] == [200, 416, 206]
    assert all(answer.closed for answer in server.answers)


def test_a_server_with_less_data_than_it_had() -> None:
    server = Server(lambda _: 300_000)
    with server.reader() as reader:
        reader.move(len(DATA) + 1)
        with pytest.raises(RegistryError, match=f"no byte {len(DATA) + 1}"):
            reader.read(1)
    assert len(server.answers) == 1


@pytest.mark.parametrize("into", [False, True])
def test_a_server_may_send_less_than_it_was_asked_for(into: bool) -> None:
    """RFC 9110 allows that, and it is no failure."""
    server = Server(lambda number: 1 << 30 if number else 100_000)
    server.most = 30_000
    with server.reader(attempts=2) as reader:
        assert whole(reader, into=into) == DATA
        assert reader.read(1) == b""
    assert len(server.answers) == 33
    assert server.clock.slept == []


def test_a_server_must_send_something_of_what_it_was_asked_for() -> None:
    server = Server(lambda number: 1 << 30 if number else 100_000)
    server.most = 0
    with server.reader() as reader, pytest.raises(RegistryError, match="no byte 100000"):
        reader.readall()
    assert len(server.answers) == 2


def test_a_server_that_sends_later_bytes() -> None:
    server = Server(lambda _: 300_000)
    with server.reader() as reader:
        assert len(reader.read(300_000)) == 300_000
        server.first = 400_000
        with pytest.raises(RegistryError, match="no byte 300000"):
            reader.read(1)
    assert len(server.answers) == 2
    assert all(answer.closed for answer in server.answers)
