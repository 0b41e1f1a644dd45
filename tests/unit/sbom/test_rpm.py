"""Databases of rpm from before SQLite, and of openSUSE, also hostile ones."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nixdock import ImageError, list_packages
from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.rpm import rpm_packages
from tests.unit.docker_archive import archive
from tests.unit.sbom.databases import (
    BASH,
    hash_database,
    header,
    ndb_database,
    rpm_database,
    tar_of,
)  # fmt: skip

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


@pytest.mark.parametrize("order", [1234, 4321])
@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_berkeley_db(tmp_path: Path, page: int, order: int) -> None:
    data = hash_database(tmp_path, *SMALL, *LARGE, KEY, page=page, order=order)
    assert names("Packages", data) == ALL
    assert {each.version for each in read("Packages", data)} == {"1-2"}
    assert {len(each.description) for each in read("Packages", data)} >= {0, 5000, 33000}


def test_packages_that_were_removed_from_berkeley_db(tmp_path: Path) -> None:
    gone = [*range(1, 50), 101, 103]
    data = hash_database(tmp_path, *SMALL, *LARGE, page=512, deleted=gone)
    assert names("Packages", data) == [n for n in ALL if n not in {"large0", "large2"}][:3] + [
        f"small{number:03}" for number in range(49, 100)
    ]
    assert read("Packages", hash_database(tmp_path)) == []


def test_ndb() -> None:
    for data in (
        ndb_database(*SMALL, *LARGE, KEY),
        ndb_database(*SMALL, *LARGE, KEY, pages=3, gap=5),
    ):
        assert names("Packages.db", data) == ALL
    assert read("Packages.db", ndb_database()) == []


def in_image(path: Path, files: dict[str, bytes]) -> list[str]:
    base = list_packages(archive(path / "image.tar", [tar_of(files)])).base
    assert base is not None
    return [each.name for each in base.packages] or [base.unread]


@pytest.mark.parametrize("directory", ["var/lib/rpm", "usr/lib/sysimage/rpm"])
def test_the_database_that_rpm_prefers_counts(tmp_path: Path, directory: str) -> None:
    files = {
        f"{directory}/Packages": hash_database(tmp_path, package("old")),
        f"{directory}/Packages.db": ndb_database(package("ndb")),
        f"{directory}/rpmdb.sqlite": rpm_database(tmp_path, package("new")),
    }
    assert in_image(tmp_path, files) == ["new"]
    del files[f"{directory}/rpmdb.sqlite"]
    assert in_image(tmp_path, files) == ["ndb"]
    del files[f"{directory}/Packages.db"]
    assert in_image(tmp_path, files) == ["old"]


def test_an_image_with_a_damaged_database_is_refused(tmp_path: Path) -> None:
    for name in ("Packages", "Packages.db"):
        with pytest.raises(ImageError, match=f"/var/lib/rpm/{name} is not an rpm database: it is"):
            in_image(tmp_path, {f"var/lib/rpm/{name}": b""})


def test_a_header_that_names_one_text_again_and_again_is_read_in_no_time() -> None:
    text = b"x" * (1 << 22) + b"\0"
    count = 1 << 18
    index = struct.pack(">4I", 1000, 6, 0, 1) * count
    (found,) = read(
        "Packages.db", ndb_database(struct.pack(">2I", count, len(text)) + index + text)
    )
    assert len(found.name) == 1 << 22


# Hostile files. Pages have 512 bytes, so that changes reach the structure.


def patched(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


def pages_of(data: bytes, kind: int) -> list[int]:
    """The positions of pages of a kind: 7 (overflow), 2 or 13 (of a bucket)."""
    return [at for at in range(512, len(data), 512) if data[at + 25] == kind]


def number(value: int) -> bytes:
    return struct.pack("=I", value)


@pytest.fixture(scope="session")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    headers = (BASH, package("a"), package("b", "x" * 3000))
    return hash_database(tmp_path_factory.mktemp("hashed"), *headers, page=512)


NDB = ndb_database(BASH, package("a"), package("b", "x" * 3000))


def refused(name: str, data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match) as caught:
        read(name, data)
    assert str(caught.value).startswith(f"{PLACE} is not an rpm database: ")


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (12, number(0x053162), "not a hash database"),
        (16, number(7), "version 7"),
        (20, number(513), "metadata is damaged"),
        (20, number(1 << 31), "metadata is damaged"),
        (24, b"\1", "encrypted"),
        (26, b"\1", "checksums"),
        (32, number(1), "buckets"),
        (48, number(2), "several databases"),
        (72, number(0xFFFFFFFF), "buckets"),
        (96, number(0xFFFFFFF0), "is not in the file"),
        (96, number(0), "is not in the file"),
    ],
)
def test_damaged_metadata_of_berkeley_db(
    hashed: bytes, position: int, value: bytes, match: str
) -> None:
    refused("Packages", patched(hashed, position, value), match)


def test_damaged_pages_of_berkeley_db(hashed: bytes) -> None:
    overflow = pages_of(hashed, 7)
    buckets = pages_of(hashed, 13) + pages_of(hashed, 2)
    assert len(overflow) > 5
    # The head of a chain, or a later page of it.
    first = next(at for at in overflow if hashed[at + 16 : at + 20] != number(0))
    second = 512 * int.from_bytes(hashed[first + 16 : first + 20], sys.byteorder)
    for position, value, match in [
        (first + 16, number(first // 512), "in use twice"),
        (second + 16, number(first // 512), "in use twice"),
        (first + 16, number(0), "has not the .* bytes"),
        (first + 16, number(1 << 30), "is not in the file"),
        (first + 16, number(buckets[0] // 512), "in use twice|not a page of a large"),
        (first + 22, b"\xff\xff", "not a page of a large value"),
        (first + 22, b"\0\0", "has not the .* bytes"),
        (first + 25, b"\x0d", "not a page of a large value"),
        (first + 8, number(99), "has the number 99"),
        (buckets[0] + 16, number(buckets[0] // 512), "in use twice"),
        (buckets[0] + 25, b"\x05", "not one of a bucket"),
        (buckets[0] + 20, b"\xff\xff", "too many items"),
    ]:
        refused("Packages", patched(hashed, position, value), match)


def test_damaged_items_of_berkeley_db(hashed: bytes) -> None:
    overflow = [number(page // 512) for page in pages_of(hashed, 7)]
    at = next(
        at
        for page in pages_of(hashed, 13) + pages_of(hashed, 2)
        for at in range(page + 26, page + 500)
        if hashed[at] == 3 and hashed[at + 4 : at + 8] in overflow
    )
    for position, value, match in [
        (at, b"\2", "of kind 2"),
        (at + 4, number(0), "has not the"),
        (at + 4, number(1 << 20), "is not in the file"),
        (at + 8, number(1 << 31), "may have at most"),
        (at + 8, number(10), "has not the 10 bytes"),
        (at // 512 * 512 + 26, b"\0\0", "not in it"),
        (at // 512 * 512 + 26, b"\xff\xff", "not in it"),
        (at // 512 * 512 + 20, b"\1\0", "without a value"),
    ]:
        refused("Packages", patched(hashed, position, value), match)


LAST_SLOT = 4096 - 16
BLOB = 4096


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (0, b"RpmX", "not a database of the form ndb"),
        (4, number(1), "version 1"),
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
        (len(NDB) - 4, b"BlbX", "head or tail"),
        (len(NDB) - 12, number(1), "another checksum"),
    ],
)
def test_damaged_ndb(position: int, value: bytes, match: str) -> None:
    refused("Packages.db", patched(NDB, position, value), match)


def test_blobs_of_ndb_that_overlap() -> None:
    """Many slots of one large blob would be read again and again."""
    slot = NDB[LAST_SLOT : LAST_SLOT + 16]
    refused("Packages.db", patched(NDB, LAST_SLOT - 48, slot), "not in its place")


def test_a_blob_of_ndb_whose_size_is_not_that_of_its_slot() -> None:
    size = 100
    blob = struct.pack("<4s3I", b"BlbS", 1, 0, size) + bytes(180)
    blob += struct.pack("<2I4s", zlib.adler32(blob), size, b"BlbE")
    data = patched(ndb_database(), LAST_SLOT, struct.pack("<4s3I", b"Slot", 1, 256, 13)) + blob
    refused("Packages.db", data, "size that its slot tells")


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
    except ImageError as error:
        assert str(error).startswith(f"{PLACE} is not an rpm database: ")


@given(changes, cuts)
@example([], None)
def test_damage_of_berkeley_db_is_refused(
    hashed: bytes, flips: Sequence[tuple[int, int]], cut: int | None
) -> None:
    check_damage("Packages", hashed, flips, cut)


@given(changes, cuts)
@example([], None)
def test_damage_of_ndb_is_refused(flips: Sequence[tuple[int, int]], cut: int | None) -> None:
    check_damage("Packages.db", NDB, flips, cut)


@given(st.binary(max_size=2000), st.sampled_from(["Packages", "Packages.db"]))
def test_anything_else_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(ImageError):
        read(name, data)
