"""Reading databases of rpm and damaging them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import strategies as st

from nixdock import ImageError
from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.rpm import rpm_packages
from nixdock.sbom.unknown_format import UnknownFormatError
from tests.unit.sbom.databases import header

PLACE = "/var/lib/rpm/database"


def package(name: str, summary: str = "") -> bytes:
    """A header; a long summary makes it longer than a page."""
    texts = {1000: name, 1001: "1", 1002: "2", 1004: summary}
    return header(*((tag, 6, text.encode() + b"\0") for tag, text in texts.items()))


def read(name: str, data: bytes) -> list[SystemPackage]:
    return list(rpm_packages(name.encode(), data, None, PLACE))


def names(name: str, data: bytes) -> list[str]:
    return sorted(each.name for each in read(name, data))


KEY = header((1000, 6, b"gpg-pubkey\0"), (1001, 6, b"1\0"))
SMALL = [package(f"small{number:03}") for number in range(100)]
LARGE = [package(f"large{number}", "x" * (5000 + 7000 * number)) for number in range(5)]
ALL = sorted([f"small{number:03}" for number in range(100)] + [f"large{n}" for n in range(5)])


def patched(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def refused(name: str, data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match) as caught:
        read(name, data)
    assert str(caught.value).startswith(f"{PLACE} is not an rpm database: ")


def unknown(name: str, data: bytes, match: str) -> None:
    with pytest.raises(UnknownFormatError, match=match):
        read(name, data)


changes = st.lists(st.tuples(st.integers(0, 1 << 13), st.integers(0, 255)), max_size=8)
cuts = st.integers(0, 1 << 13) | st.none()


def check_damage(
    name: str, whole: bytes, flips: Sequence[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(whole)
    for position, value in flips:
        data[position % len(data)] = value
    try:
        for each in read(name, bytes(data[:cut])):
            assert each.kind == "rpm"
    except UnknownFormatError:
        pass
    except ImageError as error:
        assert str(error).startswith(f"{PLACE} is not an rpm database: ")
