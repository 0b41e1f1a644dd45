"""A compressor is used for one layer after another, and nobody can tell from the bytes."""

from __future__ import annotations

import io
import os
import random
from contextlib import nullcontext

import pytest

from nixdock.layers import compressors
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import compressor
from nixdock.layers.kept_compressors import keeping_compressors

MIB = 1 << 20
# Both are longer than a job of the higher levels, and have much in common.
FIRST = b"".join(
    (b"line %d of a file in a store\n" % i) * 200 + random.Random(i).randbytes(3000)
    for i in range(1200)
)
SECOND = FIRST[5 * MIB :] + FIRST[: 6 * MIB]


def compressed(compression: Compression, data: bytes, workers: int = 1) -> bytes:
    out = io.BytesIO()
    with compressor(compression, out.write, workers, checksum=False) as stream:
        stream.write(data)
    return out.getvalue()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Compression]:
    """The compressors that have been made."""
    made: list[Compression] = []
    make = compressors._zstd_compressor

    def counted(compression: Compression, workers: int, **options: bool) -> object:
        made.append(compression)
        return make(compression, workers, **options)

    monkeypatch.setattr(compressors, "_zstd_compressor", counted)
    return made


@pytest.mark.parametrize("level", [1, 3, 4, 5, 7, 9, 13, 16, 19])
@pytest.mark.parametrize("long", ["", ",long"])
def test_what_was_compressed_before_makes_no_difference(
    level: int, long: str, made: list[Compression]
) -> None:
    compression = Compression.of(f"zstd:{level}{long}")
    samples = [FIRST, SECOND, b"", FIRST[:100], SECOND]
    alone = [compressed(compression, sample, 2) for sample in samples]
    del made[:]
    with keeping_compressors():
        assert [compressed(compression, sample) for sample in samples] == alone
    assert len(made) == 1


def test_each_is_for_its_compression(made: list[Compression]) -> None:
    data = FIRST[:MIB]
    texts = ["zstd:1", "zstd:2", "zstd:1", "zstd:2,long"]
    alone = [compressed(Compression.of(text), data) for text in texts]
    del made[:]
    with keeping_compressors():
        assert [compressed(Compression.of(text), data) for text in texts] == alone
        compressed(Compression.of("zstd:2,long"), data, workers=2)
        # Nothing is kept for settings that were left.
        assert len(made) == 5
        compressed(Compression.of("zstd:2,long"), data, workers=2)
        assert len(made) == 5


@pytest.mark.parametrize("block", [keeping_compressors, nullcontext])
def test_nothing_is_kept_outside(block: type, made: list[Compression]) -> None:
    for _ in range(2):
        with block():
            compressed(Compression.ZSTD, b"data")
    assert len(made) == 2


def test_one_that_was_not_finished_is_not_used_again(made: list[Compression]) -> None:
    alone = compressed(Compression.ZSTD, SECOND)
    del made[:]
    with keeping_compressors():
        with pytest.raises(ZeroDivisionError), compressor(Compression.ZSTD, print) as stream:
            stream.write(FIRST[:1000])
            raise ZeroDivisionError
        assert compressed(Compression.ZSTD, SECOND) == alone
    assert len(made) == 2


def test_inner_blocks_keep_what_outer_ones_do(made: list[Compression]) -> None:
    with keeping_compressors():
        compressed(Compression.ZSTD, b"one")
        with keeping_compressors():
            compressed(Compression.ZSTD, b"two")
        compressed(Compression.ZSTD, b"three")
    assert len(made) == 1


def test_a_child_process_makes_its_own() -> None:
    alone = compressed(Compression.ZSTD, SECOND)
    with keeping_compressors():
        compressed(Compression.ZSTD, FIRST)
        pid = os.fork()
        if not pid:
            # The threads of the parent's compressor are not here: it would wait for ever.
            status = 1
            try:
                status = int(compressed(Compression.ZSTD, SECOND) != alone)
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert compressed(Compression.ZSTD, SECOND) == alone
