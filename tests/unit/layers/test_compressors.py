"""Compression: the same bytes with any number of workers, without a time or a name in them."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import io
import random
import sys
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import ToolError
from nixdock.layers import libdeflate
from nixdock.layers.compressors import Compression, compressor
from nixdock.layers.libzstd import zstd

MIB = 1 << 20
BOTH = [Compression.GZIP, Compression.ZSTD]

# Text-like and random parts, longer than gzip members (1 MiB) and zstd jobs (8 MiB).
SAMPLE = b"".join(
    (b"line %d of a file in a store\n" % i) * 300 + random.Random(i).randbytes(2000)
    for i in range(1500)
)


def compressed(
    compression: Compression, chunks: Iterable[bytes | memoryview], workers: int = 1
) -> bytes:
    out = io.BytesIO()
    compressing = compressor(compression, out.write, workers)
    for chunk in chunks:
        compressing.write(chunk)
    compressing.finish()
    return out.getvalue()


def decompressed(compression: Compression, data: bytes) -> bytes:
    return gzip.decompress(data) if compression is Compression.GZIP else zstd.decompress(data)


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@pytest.fixture(scope="module")
def alone() -> dict[Compression, bytes]:
    """The sample, compressed by one worker in one write."""
    return {compression: compressed(compression, [SAMPLE]) for compression in BOTH}


@pytest.mark.parametrize("compression", BOTH)
@pytest.mark.parametrize("workers", [2, 5])
def test_workers_make_no_difference(
    alone: dict[Compression, bytes], compression: Compression, workers: int
) -> None:
    assert len(SAMPLE) > 12 * MIB
    chunks = cut(SAMPLE, [1, 99_999] + [MIB] * 4 + [70_001] * 20)
    assert compressed(compression, chunks, workers) == alone[compression]


@pytest.mark.parametrize("compression", BOTH)
def test_more_workers_than_any_library_allows(compression: Compression) -> None:
    data = SAMPLE[:MIB]
    assert compressed(compression, [data], 5000) == compressed(compression, [data])


@pytest.mark.parametrize("compression", BOTH)
def test_decompression_restores_the_input(
    alone: dict[Compression, bytes], compression: Compression
) -> None:
    assert decompressed(compression, alone[compression]) == SAMPLE
    assert len(alone[compression]) < len(SAMPLE) // 2


@pytest.mark.parametrize("compression", BOTH)
@given(
    data=st.binary(max_size=400).map(lambda data: data * 300),
    sizes=st.lists(st.integers(0, 60_000), max_size=6),
    workers=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=25, deadline=None)
def test_cuts_make_no_difference(
    compression: Compression, data: bytes, sizes: list[int], workers: int
) -> None:
    expected = compressed(compression, [data])
    assert compressed(compression, cut(data, sizes), workers) == expected
    assert compressed(compression, map(memoryview, cut(data, sizes)), workers) == expected
    assert decompressed(compression, expected) == data


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 2 * MIB])
@pytest.mark.parametrize("workers", [1, 3])
def test_gzip_members_hold_1_mib(size: int, workers: int) -> None:
    data = SAMPLE[:size]
    whole = compressed(Compression.GZIP, [data], workers)
    member = libdeflate.gzip_member_compressor(6)
    assert whole == b"".join(member(data[at : at + MIB]) for at in range(0, size, MIB))


@pytest.mark.parametrize("compression", BOTH)
@pytest.mark.parametrize("workers", [1, 2])
def test_empty_input_is_a_stream(compression: Compression, workers: int) -> None:
    for chunks in ([], [b""]):
        data = compressed(compression, chunks, workers)
        assert data
        assert decompressed(compression, data) == b""
        assert data == compressed(compression, [])


def test_gzip_header_has_no_time_or_name() -> None:
    # RFC 1952: magic, deflate, no flags, no time, then the level's hint and an unknown system.
    header = compressed(Compression.GZIP, [b"data"])[:10]
    assert header[:8] == b"\x1f\x8b\x08\x00\0\0\0\0"
    assert header[9] == 255


def test_zstd_has_a_checksum() -> None:
    data = bytearray(compressed(Compression.ZSTD, [b"data"]))
    assert data[4] & 0b100, "the frame's content checksum flag (RFC 8878, 3.1.1.1.1)"
    data[-1] ^= 1
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(bytes(data))


def test_uncompressed_bytes_are_passed_on() -> None:
    assert compressed(Compression.NONE, [b"a", memoryview(b"bc")]) == b"abc"


def test_media_types() -> None:
    suffixes = [compression.media_type_suffix for compression in Compression]
    assert suffixes == ["", "+gzip", "+zstd"]


# A new libdeflate or libzstd that changes these changes the digests of compressed layers.
def test_digests(alone: dict[Compression, bytes]) -> None:
    digests = {c.value: hashlib.sha256(data).hexdigest() for c, data in alone.items()}
    assert (
        hashlib.sha256(SAMPLE).hexdigest()
        == "4290422b5d87123b7d4af7e2900a96071059a5a44e00486dff8e45fda4edacf4"
    )
    assert digests == {
        "gzip": "0a869fa99b1f0d92f86a73f88a170d9d44eb575f0cc9ef8f091381b2f46456a7",
        "zstd": "3243a1d607bc25d37552ce61b2323e4e4a02a795f68ac42bdf33c3911ae0cbbb",
    }


@pytest.mark.parametrize("compression", BOTH)
@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_writing_are_passed_on(compression: Compression, workers: int) -> None:
    def write(data: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    compressing = compressor(compression, write, workers)
    with pytest.raises(OSError, match="No space left"):
        for _ in range(20):
            compressing.write(SAMPLE[:MIB])
        compressing.finish()


# The shared library and the wheel.


@pytest.fixture
def fresh_search(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Search for libdeflate again in this test, and again after it."""
    monkeypatch.delenv("NIXDOCK_LIBDEFLATE", raising=False)
    libdeflate.gzip_member_compressor.cache_clear()
    yield
    libdeflate.gzip_member_compressor.cache_clear()


def _no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)


@pytest.mark.usefixtures("fresh_search")
def test_library_and_wheel_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as only_the_library:
        only_the_library.setitem(sys.modules, "deflate", None)
        library = libdeflate.gzip_member_compressor(6)
    libdeflate.gzip_member_compressor.cache_clear()
    with monkeypatch.context() as only_the_wheel:
        _no_library(only_the_wheel)
        wheel = libdeflate.gzip_member_compressor(6)
    assert library is not wheel
    for data in (b"", b"a", SAMPLE[:MIB], SAMPLE[-MIB:], bytes(MIB)):
        assert wheel(data) == library(data)
        assert gzip.decompress(library(data)) == data


@pytest.mark.usefixtures("fresh_search")
def test_the_location_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str) -> SimpleNamespace:
        loaded.append(name)
        raise OSError(name)

    monkeypatch.setenv("NIXDOCK_LIBDEFLATE", "/nix/store/libdeflate.so")
    monkeypatch.setattr(ctypes, "CDLL", load)
    libdeflate.gzip_member_compressor(6)
    assert loaded[0] == "/nix/store/libdeflate.so"


@pytest.mark.usefixtures("fresh_search")
def test_no_libdeflate_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    _no_library(monkeypatch)
    monkeypatch.setitem(sys.modules, "deflate", None)
    with pytest.raises(ToolError) as caught:
        compressor(Compression.GZIP, lambda data: None)
    for word in ("libdeflate0", "nixpkgs' libdeflate", "pip install 'nixdock[gzip]'"):
        assert word in str(caught.value)
