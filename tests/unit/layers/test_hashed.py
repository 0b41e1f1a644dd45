"""Streams that hash and verify: a wrong byte is never the last one that a reader gets."""

from __future__ import annotations

import pytest

from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK, HashedReader, VerifiedReader, buffered, drain
from tests.unit.layers.blobs import Pieces, digest

DATA = bytes(range(256)) * 4


def verified(data: bytes, size: int | None, expected: bytes = DATA) -> VerifiedReader:
    return VerifiedReader(Pieces(data), "layer 7", digest(expected), size)


def read(stream: VerifiedReader, *sizes: int) -> list[int]:
    """Read into buffers of these sizes and return how many bytes came into each."""
    return [stream.readinto(bytearray(size)) for size in sizes]


def test_bytes_are_counted_and_hashed() -> None:
    stream = HashedReader(Pieces(DATA, 100))
    assert stream.digest == digest(b"")
    drain(stream)
    assert (stream.size, stream.digest) == (len(DATA), digest(DATA))


@pytest.mark.parametrize("size", [len(DATA), None])
@pytest.mark.parametrize("buffer", [1, 100, len(DATA) - 1, len(DATA), len(DATA) + 1])
def test_right_bytes_pass(size: int | None, buffer: int) -> None:
    stream = verified(DATA, size)
    data = bytearray()
    while chunk := stream.read(buffer):
        data += chunk
    assert data == DATA


@pytest.mark.parametrize("surplus", [1, 100, len(DATA)])
@pytest.mark.parametrize("first", [[], [1], [512], [512, 511]])
def test_surplus_bytes_after_a_buffer_that_ends_at_the_size(surplus: int, first: list[int]) -> None:
    """The first `size` bytes are right; without a look behind them, they would all be returned."""
    stream = verified(DATA + bytes(surplus), len(DATA))
    assert read(stream, *first) == first
    with pytest.raises(ImageError, match="layer 7 has more than the 1024 bytes") as caught:
        read(stream, len(DATA) - sum(first))
    assert caught.value.place == "layer 7"


def test_surplus_bytes_within_a_buffer() -> None:
    stream = verified(DATA + b"x", len(DATA))
    with pytest.raises(ImageError, match="has more than the 1024 bytes"):
        read(stream, len(DATA) + 1)


def test_surplus_bytes_after_a_whole_chunk() -> None:
    data = bytes(CHUNK)
    with (
        buffered(verified(data + b"x", CHUNK, data)) as stream,
        pytest.raises(ImageError, match="has more than the"),
    ):
        stream.read(CHUNK)


def test_the_last_of_wrong_bytes_is_withheld() -> None:
    wrong = DATA[:-1] + b"x"
    stream = verified(wrong, len(DATA))
    assert read(stream, len(DATA) - 1) == [len(DATA) - 1]
    with pytest.raises(ImageError, match="layer 7 is damaged: its digest is") as caught:
        read(stream, 1)
    assert (caught.value.place, caught.value.digest) == ("layer 7", digest(wrong))


def test_missing_bytes() -> None:
    stream = verified(DATA[:-1], len(DATA))
    assert read(stream, len(DATA)) == [len(DATA) - 1]
    with pytest.raises(ImageError, match="layer 7 has 1023 bytes, but should have 1024") as caught:
        read(stream, 1)
    assert (caught.value.place, caught.value.digest) == ("layer 7", digest(DATA[:-1]))


def test_without_a_size_the_end_tells() -> None:
    stream = VerifiedReader(Pieces(DATA), "layer 7", digest(b""), None, uncompressed=True)
    assert read(stream, len(DATA)) == [len(DATA)]
    with pytest.raises(ImageError, match="layer 7, uncompressed, is damaged") as caught:
        read(stream, 1)
    assert caught.value.place == "layer 7"


def test_an_empty_buffer_is_not_the_end() -> None:
    assert read(verified(DATA, len(DATA)), 0, len(DATA)) == [0, len(DATA)]


def test_closing_closes_the_stream_below() -> None:
    below = Pieces(DATA)
    HashedReader(below).close()
    assert below.closed
