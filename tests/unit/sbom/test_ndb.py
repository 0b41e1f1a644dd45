"""Databases of rpm in the form ndb, also hostile ones."""

from __future__ import annotations

import struct
import zlib

import pytest

from nixdock.sbom.ndb import ndb_blobs
from tests.unit.sbom.databases import BASH, ndb_database
from tests.unit.sbom.rpm_files import ALL, KEY, LARGE, NDB, SMALL, number, package, patched

WHOLE = ndb_database(BASH, package("a"), package("b", "x" * 3000))
LAST_SLOT = 4096 - 16
BLOB = 4096


def test_ndb() -> None:
    for data in (
        ndb_database(*SMALL, *LARGE, KEY),
        ndb_database(*SMALL, *LARGE, KEY, pages=3, gap=5),
    ):
        assert NDB.names(data) == ALL
    assert NDB.read(ndb_database()) == []


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (12, number(0), "0 pages"),
        (12, number(0xFFFFFFFF), "pages of slots"),
        (12, number(2), "2 pages of slots"),
        (40, b"\1", "slot at byte|not in its place"),
        (LAST_SLOT, b"Slob", "slot at byte 4080 is damaged"),
        (LAST_SLOT + 4, number(0), "package 0"),
        (LAST_SLOT + 4, number(2), "head or tail|two slots"),
        (LAST_SLOT + 8, number(1), "not in its place"),
        (LAST_SLOT + 8, number(0xFFFFFFFF), "not in its place"),
        (LAST_SLOT + 12, number(0xFFFFFFFF), "not in its place"),
        (LAST_SLOT + 12, number(0), "too short"),
        (BLOB, b"BlbX", "head or tail"),
        (BLOB + 4, number(9), "head or tail"),
        (BLOB + 12, number(0xFFFFFFFF), "head or tail"),
        (BLOB + 16, b"\xff", "another checksum"),
        (len(WHOLE) - 4, b"BlbX", "head or tail"),
        (len(WHOLE) - 12, number(1), "another checksum"),
    ],
)
def test_damaged_ndb(position: int, value: bytes, match: str) -> None:
    NDB.refuses(patched(WHOLE, position, value), match)


def test_other_forms_of_ndb() -> None:
    NDB.does_not_know(patched(WHOLE, 0, b"RpmX"), "no database of the form ndb")
    NDB.does_not_know(patched(WHOLE, 4, number(1)), "version 1 of the form ndb")
    NDB.refuses(WHOLE[:4095], "first page is too short")


def test_blobs_of_ndb_that_overlap() -> None:
    """Many slots of one large blob would be read again and again."""
    slot = WHOLE[LAST_SLOT : LAST_SLOT + 16]
    NDB.refuses(patched(WHOLE, LAST_SLOT - 48, slot), "not in its place")


def test_a_blob_of_ndb_whose_size_is_not_that_of_its_slot() -> None:
    size = 100
    blob = struct.pack("<4s3I", b"BlbS", 1, 0, size) + bytes(180)
    blob += struct.pack("<2I4s", zlib.adler32(blob), size, b"BlbE")
    data = patched(ndb_database(), LAST_SLOT, struct.pack("<4s3I", b"Slot", 1, 256, 13)) + blob
    NDB.refuses(data, "size that its slot tells")


def test_two_packages_of_ndb_with_one_number() -> None:
    data = ndb_database(package("a"), package("b"))
    second = data.rindex(b"BlbS")
    data = patched(patched(data, LAST_SLOT - 16 + 4, number(1)), second + 4, number(1))
    checksum = struct.pack("<I", zlib.adler32(data[second:-12]))
    NDB.refuses(patched(data, len(data) - 12, checksum), "two slots of package 1")


def test_limits_of_ndb() -> None:
    NDB.refuses(WHOLE + b"\0", "pages of slots")
    blobs = list(ndb_blobs(WHOLE, 1 << 20))
    largest = max(map(len, blobs))
    assert list(ndb_blobs(WHOLE, largest)) == blobs
    with pytest.raises(ValueError, match=f"has {largest} bytes, but may have at most"):
        list(ndb_blobs(WHOLE, largest - 1))
