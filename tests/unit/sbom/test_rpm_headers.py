"""Headers of rpm that are to use up time or memory. Those that rpm makes are in `test_rpm`."""

from __future__ import annotations

import struct

import pytest

from nixdock.sbom.rpm_headers import package_of

from .databases import BASH, header

LONG = 1 << 20
NAME, SUMMARY, LICENSE = 1000, 1004, 1014
TEXT = 6


def of_index(data: bytes, *entries: tuple[int, int]) -> bytes:
    """A header with texts of any tags at any offsets of the data."""
    index = b"".join(struct.pack(">4I", tag, TEXT, offset, 1) for tag, offset in entries)
    return struct.pack(">2I", len(entries), len(data)) + index + data


def test_one_long_text_that_is_named_again_and_again() -> None:
    """Each time, its end would be searched for: a minute for this header."""
    found = package_of(of_index(b"x" * LONG + b"\0", *[(NAME, 0)] * (1 << 18)))
    assert found is not None
    assert len(found.name) == LONG


def test_the_first_value_of_a_tag_counts() -> None:
    found = package_of(of_index(b"first\0second\0", (NAME, 0), (NAME, 6)))
    assert found is not None
    assert found.name == "first"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (of_index(b"x" * (LONG + 1) + b"\0", (NAME, 0)), "has no end in 1048576 bytes"),
        (of_index(b"x" * 9, (NAME, 0)), "text 1000 of a header has no end"),
        (of_index(b"x\0", (NAME, 0xFFFFFFFF)), "text 1000 of a header has no end"),
        (of_index(b"xxxxx\0", (NAME, 0), (SUMMARY, 0)), "texts of a header overlap"),
        (header((1003, 4, b"\0\0\1")), "a header is damaged"),
        (BASH[:-1], "a header is too short"),
        (b"\xff" * 64, "a header is too short"),
        (b"\0" * 7, "a header is damaged"),
    ],
)
def test_damaged_headers(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        package_of(data)


@pytest.mark.parametrize("name", [b"gpg-pubkey\0", b"\0", b" \0"])
def test_headers_without_a_package(name: bytes) -> None:
    assert package_of(of_index(name, (NAME, 0))) is None
    assert package_of(of_index(b"MIT\0", (LICENSE, 0))) is None
