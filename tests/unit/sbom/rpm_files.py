"""Reading databases of rpm and damaging them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

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


@dataclass(frozen=True)
class Form:
    """A form of the database, by the name of its file."""

    name: str

    def read(self, data: bytes) -> list[SystemPackage]:
        return list(rpm_packages(self.name.encode(), data, None, PLACE))

    def names(self, data: bytes) -> list[str]:
        return sorted(each.name for each in self.read(data))

    def refuses(self, data: bytes, match: str) -> None:
        with pytest.raises(ImageError, match=match) as caught:
            self.read(data)
        assert str(caught.value).startswith(f"{PLACE} is not an rpm database: ")

    def does_not_know(self, data: bytes, match: str) -> None:
        with pytest.raises(UnknownFormatError, match=match):
            self.read(data)

    def survives(self, data: bytes) -> None:
        """Check that any damage is refused, or gives packages."""
        try:
            for each in self.read(data):
                assert each.kind == "rpm"
        except UnknownFormatError:
            pass
        except ImageError as error:
            assert str(error).startswith(f"{PLACE} is not an rpm database: ")


HASH, NDB = Form("Packages"), Form("Packages.db")
KEY = header((1000, 6, b"gpg-pubkey\0"), (1001, 6, b"1\0"))
SMALL = [package(f"small{number:03}") for number in range(100)]
LARGE = [package(f"large{number}", "x" * (5000 + 7000 * number)) for number in range(5)]
ALL = sorted([f"small{number:03}" for number in range(100)] + [f"large{n}" for n in range(5)])


def patched(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


def number(value: int) -> bytes:
    return struct.pack("<I", value)
