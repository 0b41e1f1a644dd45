"""Compression: the same bytes with any number of workers, without a time or a name in them."""

from __future__ import annotations

import ctypes
import ctypes.util
import gzip
import hashlib
import importlib
import io
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.coding.codings import Coding
from nixdock.coding.libzstd import zstd
from nixdock.errors import ToolError
from nixdock.layers import compressors, libdeflate
from nixdock.layers.compression import COMPRESSIONS, Compression
from nixdock.layers.compressors import compressor, encoder_name
from nixdock.layers.encoder_probe import encoder_digest

from ..threads import new_threads

MIB = 1 << 20
BOTH = [Compression.GZIP, Compression.ZSTD]
LEVEL = Compression.GZIP.level

# Text-like and random parts, longer than gzip members (1 MiB) and zstd jobs (8 MiB).
SAMPLE = b"".join(
    (b"line %d of a file in a store\n" % i) * 300 + random.Random(i).randbytes(2000)
    for i in range(1500)
)


def compressed(
    compression: Compression, chunks: Iterable[bytes | memoryview], workers: int = 1
) -> bytes:
    out = io.BytesIO()
    with compressor(compression, out.write, workers, checksum=False) as compressing:
        for chunk in chunks:
            compressing.write(chunk)
    return out.getvalue()


def decompressed(compression: Compression, data: bytes) -> bytes:
    return gzip.decompress(data) if compression.coding is Coding.GZIP else zstd.decompress(data)


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


@pytest.mark.parametrize("text", ["gzip:1", "gzip:9", "zstd:1", "zstd:7", "zstd:3,long"])
def test_levels(text: str) -> None:
    """Whatever the level, the bytes depend on the input alone."""
    compression = Compression.of(text)
    data = SAMPLE[: 9 * MIB]
    alone = compressed(compression, [data])
    assert compressed(compression, cut(data, [1, 99_999, MIB]), 3) == alone
    assert decompressed(compression, alone) == data
    assert alone != compressed(replace(compression, level=2, long=False), [data])


def test_long_matches_are_found() -> None:
    noise = hashlib.shake_256(b"noise").digest(9 * MIB)
    near = compressed(Compression.ZSTD, [noise, noise])
    far = compressed(Compression.of("zstd:3,long"), [noise, noise])
    assert len(far) < len(noise) * 1.01 < len(near)
    # Readers allow this window without being asked.
    assert zstd.decompress(far) == noise * 2


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
    member = libdeflate.gzip_member_compressor(LEVEL)
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


def test_a_resource_that_libzstd_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        def compress(self, data: bytes) -> bytes:
            raise zstd.ZstdError("Allocation error : not enough memory")

    monkeypatch.setattr(compressors, "_zstd_compressor", lambda *_, **__: Lacking())
    with pytest.raises(ToolError, match=r"can't compress \(Allocation error : not enough memory\)"):
        compressed(Compression.ZSTD, [b"a"])


@pytest.fixture
def fresh_sample() -> Iterator[None]:
    """Forget what the encoders of zstd make of the sample, before the test and after it."""
    compressors._zstd_sample_digest.cache_clear()
    yield
    compressors._zstd_sample_digest.cache_clear()


@pytest.mark.usefixtures("fresh_sample")
def test_the_name_of_an_encoder_takes_one_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    """At high levels, to set up one takes as long as to compress megabytes."""
    made = []
    make = compressors._zstd_compressor

    def counted(*arguments: Any, **options: Any) -> zstd.ZstdCompressor:
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(compressors, "_zstd_compressor", counted)
    name = encoder_name(Compression.of("zstd:9"))
    assert len(made) == 1

    def alone(data: bytes) -> bytes:
        compressor = make(Compression.of("zstd:9"), 1)
        return compressor.compress(data) + compressor.flush()

    assert name == f"zstd-9 {encoder_digest(alone)}"


@pytest.mark.usefixtures("fresh_sample")
def test_a_resource_that_libzstd_lacks_for_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        def compress(self, data: bytes) -> bytes:
            raise zstd.ZstdError("Allocation error : not enough memory")

    monkeypatch.setattr(compressors, "_zstd_compressor", lambda *_, **__: Lacking())
    with pytest.raises(ToolError, match=r"can't compress \(Allocation error : not enough memory\)"):
        encoder_name(Compression.of("zstd:19"))


def test_zstd_has_a_checksum_unless_there_is_a_digest() -> None:
    data = compressed(Compression.ZSTD, [b"data"])
    assert not data[4] & 0b100, "the frame's content checksum flag (RFC 8878, 3.1.1.1.1)"
    assert zstd.decompress(data) == b"data"
    out = io.BytesIO()
    with compressor(Compression.ZSTD, out.write) as stream:
        stream.write(b"data")
    checked = bytearray(out.getvalue())
    assert checked[4] & 0b100
    checked[-1] ^= 1
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(bytes(checked))


def test_uncompressed_bytes_are_passed_on() -> None:
    assert compressed(Compression.NONE, [b"a", memoryview(b"bc")]) == b"abc"


def test_media_types() -> None:
    suffixes = [compression.media_type_suffix for compression in COMPRESSIONS]
    assert suffixes == ["", "+gzip", "+zstd", "+zstd", "+gzip"]


# A new libdeflate or libzstd that changes these changes the digests of compressed layers.
def test_digests(alone: dict[Compression, bytes]) -> None:
    digests = {str(c): hashlib.sha256(data).hexdigest() for c, data in alone.items()}
    assert (
        hashlib.sha256(SAMPLE).hexdigest()
        == "4290422b5d87123b7d4af7e2900a96071059a5a44e00486dff8e45fda4edacf4"
    )
    assert digests == {
        "gzip": "0a869fa99b1f0d92f86a73f88a170d9d44eb575f0cc9ef8f091381b2f46456a7",
        "zstd": "1957b43b3d24e74eeb1bdde3f679103252c8aaec842ee9f99b77c7fb704405ae",
    }


@pytest.mark.parametrize("compression", BOTH)
@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_writing_are_passed_on(compression: Compression, workers: int) -> None:
    def write(data: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    started = new_threads()
    with (
        pytest.raises(OSError, match="No space left"),
        compressor(compression, write, workers) as compressing,
    ):
        for _ in range(20):
            compressing.write(SAMPLE[:MIB])
    assert not started(), "a thread of the pool still waits for work"


def test_no_thread_is_left_if_the_block_fails() -> None:
    started = new_threads()
    with pytest.raises(KeyError), compressor(Compression.GZIP, lambda data: None, 4) as compressing:
        compressing.write(SAMPLE[: 3 * MIB])
        raise KeyError
    assert not started()


# The pinned generation of libdeflate, from a library that is named, the wheel or the system.

_OLD_SYSTEM_LIBRARY = Path("/usr/share/doc/libdeflate0/changelog.Debian.gz")


def corpus() -> list[bytes]:
    """Pieces of many sizes whose compression differs between versions of libdeflate for many."""
    noise = hashlib.shake_256(b"corpus").digest(MIB)
    text = SAMPLE[:MIB]
    return [
        source[at * 997 : at * 997 + size]
        for at, size in enumerate([*range(0, 2000, 13), 10_000, 65_535, 65_537, 400_000])
        for source in (text, noise.translate(bytes(i & 15 for i in range(256))))
    ]


def corpus_digest(compress: Callable[[bytes], bytes]) -> str:
    return hashlib.sha256(b"".join(compress(piece) for piece in corpus())).hexdigest()


CORPUS_DIGEST = "0baeffb6fa9f58880ed9e8b96762b2d5a836a572bede4c593ef49239bcca19b1"


@pytest.fixture
def fresh_search(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Search for libdeflate again in this test, and again after it."""
    monkeypatch.delenv("NIXDOCK_LIBDEFLATE", raising=False)
    libdeflate.gzip_member_compressor.cache_clear()
    yield
    libdeflate.gzip_member_compressor.cache_clear()


def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)


def wheel_library() -> str:
    """The wheel's module, which exports libdeflate's functions as a shared library does."""
    module = sys.modules.get("deflate._deflate") or importlib.import_module("deflate._deflate")
    assert module.__file__ is not None
    return module.__file__


def other_encoder(data: bytes) -> bytes:
    """A gzip encoder that gives correct data, but other bytes."""
    return gzip.compress(data, 9, mtime=0)


@pytest.mark.usefixtures("fresh_search")
def test_gzip_digest_of_a_corpus() -> None:
    # If another libdeflate compresses anything differently, layers get other digests with it.
    assert corpus_digest(libdeflate.gzip_member_compressor(LEVEL)) == CORPUS_DIGEST


@pytest.mark.usefixtures("fresh_search")
def test_a_named_library_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIXDOCK_LIBDEFLATE", wheel_library())
    monkeypatch.setitem(sys.modules, "deflate", None)
    compress = libdeflate.gzip_member_compressor(LEVEL)
    assert corpus_digest(compress) == CORPUS_DIGEST
    assert gzip.decompress(compress(SAMPLE[:MIB])) == SAMPLE[:MIB]


@pytest.mark.usefixtures("fresh_search")
def test_the_wheel_is_used_without_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    without_libraries(monkeypatch)
    assert corpus_digest(libdeflate.gzip_member_compressor(LEVEL)) == CORPUS_DIGEST


@pytest.mark.usefixtures("fresh_search")
@pytest.mark.parametrize("name", ["/nonexistent/libdeflate.so.0", ctypes.util.find_library("c")])
def test_a_named_file_that_is_no_libdeflate(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NIXDOCK_LIBDEFLATE", name)
    with pytest.raises(ToolError, match="which can't be loaded as libdeflate") as caught:
        libdeflate.gzip_member_compressor(LEVEL)
    assert str(caught.value).startswith(f"NIXDOCK_LIBDEFLATE names {name}, ")
    assert caught.value.path == name


@pytest.mark.usefixtures("fresh_search")
def test_another_generation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deflate", None)
    found: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("the system's libdeflate.so.0", other_encoder)
    ]
    monkeypatch.setattr(libdeflate, "_installed", lambda _: iter(found))
    with pytest.raises(ToolError) as caught:
        libdeflate.gzip_member_compressor(LEVEL)
    assert str(caught.value) == (
        "gzip compression needs a libdeflate that gives the same bytes as libdeflate 1.25, but the"
        " system's libdeflate.so.0 gives others: install the Python package deflate, 0.8 or 0.9, or"
        " a current libdeflate, such as nixpkgs', and name its library in NIXDOCK_LIBDEFLATE; or"
        " choose another compression"
    )
    found.append(("another", libdeflate._from_library(ctypes.CDLL(wheel_library()), LEVEL)))
    assert libdeflate.gzip_member_compressor(LEVEL) is found[1][1]


@pytest.mark.usefixtures("fresh_search")
@pytest.mark.skipif(not _OLD_SYSTEM_LIBRARY.exists(), reason="needs Debian's libdeflate0")
def test_the_system_library_is_used_only_if_it_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = libdeflate._from_library(ctypes.CDLL("libdeflate.so.0"), LEVEL)
    assert (corpus_digest(library) == CORPUS_DIGEST) == libdeflate._is_required(library, LEVEL)
    if corpus_digest(library) != CORPUS_DIGEST:
        monkeypatch.setenv("NIXDOCK_LIBDEFLATE", "libdeflate.so.0")
        with pytest.raises(
            ToolError, match=r"which compresses to other bytes than libdeflate 1\.25"
        ):
            libdeflate.gzip_member_compressor(LEVEL)


@pytest.mark.usefixtures("fresh_search")
def test_no_libdeflate_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    without_libraries(monkeypatch)
    monkeypatch.setitem(sys.modules, "deflate", None)
    with (
        pytest.raises(ToolError, match="needs libdeflate, which is not installed: install"),
        compressor(Compression.GZIP, lambda data: None),
    ):
        pass


@pytest.mark.parametrize("other", [False, True])
def test_a_libzstd_with_other_bytes_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, other: bool
) -> None:
    monkeypatch.setattr(zstd, "zstd_version", "1.6.0")
    if other:
        monkeypatch.setattr(compressors, "_ZSTD_SAMPLE_DIGEST", "0" * 64)
    compressors._check_zstd.cache_clear()
    compressors._zstd_sample_digest.cache_clear()
    try:
        compressed(Compression.ZSTD, [b"a"])
    finally:
        compressors._check_zstd.cache_clear()
        compressors._zstd_sample_digest.cache_clear()
    warning = (
        "Python's libzstd 1.6.0 compresses to other bytes than 1.5.7, so the digests of compressed"
        " layers differ from those on machines with that version; the diff_ids do not"
    )
    assert [record.getMessage() for record in caplog.records] == [warning] * other
