"""Decompression of untrusted bytes: damage is an error, and so is excessive expansion."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.coding.codings import MAGIC_SIZE, Coding, coding_of
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError, StoreError, ToolError
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import compressor
from nixdock.layers.hashed import buffered
from tests.unit.layers.blobs import Pieces


def compressed(data: bytes, coding: Coding) -> bytes:
    if coding is Coding.XZ:
        return lzma.compress(data)
    if coding is Coding.BZIP2:
        return bz2.compress(data)
    if coding is Coding.BROTLI:
        packed: bytes = brotli.compress(data, quality=3)
        return packed
    out = io.BytesIO()
    with compressor(Compression.of(coding.value), out.write) as compressing:
        compressing.write(data)
    return out.getvalue()


def expanded(data: bytes, coding: Coding, piece: int = 1 << 18, most: int = 1 << 30) -> bytes:
    with buffered(DecompressedReader(Pieces(data, piece), coding, most=most)) as stream:
        return stream.read()


CODINGS = [Coding.GZIP, Coding.ZSTD, Coding.XZ, Coding.BZIP2]


@pytest.mark.parametrize("coding", CODINGS)
@settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 50))
def test_parts_are_one_stream(coding: Coding, parts: list[bytes], piece: int) -> None:
    data = b"".join(compressed(part, coding) for part in parts)
    assert coding_of(data[:MAGIC_SIZE]) is coding
    assert expanded(data, coding, piece) == b"".join(parts)


@pytest.mark.slow
@pytest.mark.parametrize("coding", [*CODINGS, Coding.BROTLI])
def test_more_than_a_buffer(coding: Coding) -> None:
    data = bytes(range(256)) * 20_000
    assert expanded(compressed(data, coding), coding) == data


def test_a_skippable_frame_is_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    data = skipped + compressed(b"x", Coding.ZSTD) + skipped
    assert coding_of(data[:MAGIC_SIZE]) is Coding.ZSTD
    assert expanded(data, Coding.ZSTD) == b"x"


@pytest.mark.parametrize("coding", [*CODINGS, Coding.BROTLI])
def test_truncated(coding: Coding) -> None:
    data = compressed(bytes(range(256)) * 100, coding)
    for size in (0, 1, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageError, match="is truncated"):
            expanded(data[:size], coding)


@pytest.mark.parametrize("coding", [*CODINGS, Coding.BROTLI])
def test_bytes_behind_the_end(coding: Coding) -> None:
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        expanded(compressed(b"x", coding) + b"trailing garbage, long enough", coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_flipped(coding: Coding) -> None:
    data = bytearray(compressed(bytes(range(256)) * 100, coding))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        expanded(bytes(data), coding)


@pytest.mark.parametrize("coding", [*CODINGS, Coding.BROTLI])
def test_limit_of_size(coding: Coding) -> None:
    with pytest.raises(ImageError, match="expands to more than 1000 bytes"):
        expanded(compressed(bytes(1001), coding), coding, most=1000)
    assert len(expanded(compressed(bytes(1000), coding), coding, most=1000)) == 1000


def test_limit_of_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coding, "most_ratio", property(lambda _: 100))
    with pytest.raises(ImageError, match="expands more than 100-fold"):
        expanded(gzip.compress(bytes(1 << 20)), Coding.GZIP)


@pytest.mark.slow
def test_honest_zeros_stay_below_the_ratio() -> None:
    # bzip2 makes forty bytes of 46 MB of zeros: no ratio tells honest data from a bomb.
    for coding in (Coding.GZIP, Coding.ZSTD, Coding.XZ):
        assert len(expanded(compressed(bytes(64 << 20), coding), coding)) == 64 << 20


def test_without_brotli_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(ToolError) as caught:
        expanded(b"", Coding.BROTLI)
    assert str(caught.value) == (
        "data is compressed with brotli, which needs the Python package brotli; install it or, in"
        " Nix, take pkgs.nixdock.package.override { withBrotli = true; }"
    )


def test_the_reader_can_raise_another_error() -> None:
    stream = DecompressedReader(Pieces(b"x", 1), Coding.XZ, failure=StoreError)
    with pytest.raises(StoreError, match=r"^the xz data is truncated: it ends after 1 bytes$"):
        stream.read(1)


def test_none() -> None:
    assert coding_of(b"") is Coding.NONE
    assert coding_of(b"usr/lib") is Coding.NONE


@pytest.mark.parametrize(
    ("coding", "frame"),
    [
        (Coding.GZIP, gzip.compress(b"", mtime=0)),
        (Coding.ZSTD, b"\x50\x2a\x4d\x18\0\0\0\0"),
        (Coding.BZIP2, bz2.compress(b"")),
    ],
)
def test_empty_frames_are_bounded(coding: Coding, frame: bytes) -> None:
    assert expanded(frame * 1000, coding) == b""
    with pytest.raises(ImageError, match="has too many small frames"):
        expanded(frame * 100_000, coding)


def test_frames_of_a_file_each_are_not_too_many() -> None:
    frame = gzip.compress(bytes(range(200)), mtime=0)
    assert len(expanded(frame * 30_000, Coding.GZIP)) == 30_000 * 200


@pytest.mark.parametrize("end", [bytes(1), bytes(1 << 19)])
def test_padding_behind_gzip(end: bytes) -> None:
    reader = DecompressedReader(Pieces(gzip.compress(b"x") + end, 1 << 18), Coding.GZIP)
    assert buffered(reader).read() == b"x"
    assert reader.has_padding
