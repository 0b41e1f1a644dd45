"""Compressions as users write them."""

from __future__ import annotations

import pytest

from nixdock.coding.codings import Coding
from nixdock.errors import InputError
from nixdock.layers.compression import COMPRESSIONS, Compression


@pytest.mark.parametrize(
    "text",
    """
    none gzip gzip:1 gzip:12 zstd zstd:1 zstd:19 zstd:3,long
    zstd:chunked zstd:chunked:19 estargz estargz:12
    """.split(),  # noqa: SIM905 (easier to read)
)
def test_texts(text: str) -> None:
    compression = Compression.of(text)
    assert str(compression) == text
    assert Compression.of(compression) is compression


def test_defaults() -> None:
    assert [str(each) for each in COMPRESSIONS] == [
        "none", "gzip", "zstd", "zstd:chunked", "estargz"
    ]  # fmt: skip
    assert Compression.of("gzip:5") == Compression.GZIP == Compression(Coding.GZIP, 5)
    assert str(Compression.of("zstd:3")) == "zstd"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write none|gzip"),
        ("xz", "write none|gzip"),
        ("GZIP", "write none|gzip"),
        ("gzip:", "write none|gzip"),
        ("gzip:-1", "write none|gzip"),
        ("gzip:٣", "write none|gzip"),
        ("gzip:6\n", "write none|gzip"),
        ("zstd,long", "write none|gzip"),
        ("none:1", "none has no levels"),
        ("gzip:0", "gzip has the levels 1 to 12"),
        ("gzip:13", "gzip has the levels 1 to 12"),
        ("zstd:20", "zstd has the levels 1 to 19"),
        ("gzip:6,long", "only zstd can be long"),
        ("zstd:chunked:20", "zstd:chunked has the levels 1 to 19"),
        ("zstd:chunked:3,long", "only zstd can be long"),
        ("estargz:0", "estargz has the levels 1 to 12"),
        ("gzip:chunked", "write none|gzip"),
    ],
)
def test_what_is_not_a_compression(text: str, reason: str) -> None:
    with pytest.raises(InputError, match="is not a compression: ") as caught:
        Compression.of(text)
    assert reason in str(caught.value)
