"""Databases of rpm in the form of Berkeley DB, also hostile ones."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from tests.unit.sbom.databases import BASH, hash_database
from tests.unit.sbom.rpm_files import ALL, HASH, KEY, LARGE, SMALL, number, package, patched

pytestmark = pytest.mark.tools


@pytest.mark.parametrize("order", [1234, 4321])
@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_berkeley_db(tmp_path: Path, page: int, order: int) -> None:
    data = hash_database(tmp_path, *SMALL, *LARGE, KEY, page=page, order=order)
    assert HASH.names(data) == ALL
    assert {each.version for each in HASH.read(data)} == {"1-2"}
    assert {len(each.description) for each in HASH.read(data)} >= {0, 5000, 33000}


def test_packages_that_were_removed_from_berkeley_db(tmp_path: Path) -> None:
    gone = [*range(1, 50), 101, 103]
    data = hash_database(tmp_path, *SMALL, *LARGE, page=512, deleted=gone)
    assert HASH.names(data) == [n for n in ALL if n not in {"large0", "large2"}][:3] + [
        f"small{number:03}" for number in range(49, 100)
    ]
    assert HASH.read(hash_database(tmp_path)) == []


# Hostile files. Pages have 512 bytes, so that changes reach the structure.


def pages_of(data: bytes, kind: int) -> list[int]:
    """The positions of pages of a kind: 7 (overflow), 2 or 13 (of a bucket)."""
    return [at for at in range(512, len(data), 512) if data[at + 25] == kind]


@pytest.fixture(scope="session")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    headers = (BASH, package("a"), package("b", "x" * 3000))
    return hash_database(tmp_path_factory.mktemp("hashed"), *headers, page=512)


def test_a_bucket_that_was_never_written_is_empty(tmp_path: Path) -> None:
    """Berkeley DB makes the pages of new buckets together, as a hole in the file."""
    data = hash_database(tmp_path, *SMALL, page=512, deleted=range(1, 95))
    empty = [
        page
        for page in pages_of(data, 13) + pages_of(data, 2)
        if not any(data[page + 12 : page + 22])
    ]
    assert empty
    for page in empty:
        assert HASH.names(patched(data, page, bytes(512))) == HASH.names(data)


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (20, number(513), "metadata is damaged"),
        (20, number(1 << 31), "metadata is damaged"),
        (32, number(1), "buckets"),
        (72, number(0xFFFFFFFF), "buckets"),
        (96, number(0xFFFFFFF0), "is not in the file"),
        (96, number(0), "is not in the file"),
    ],
)
def test_damaged_metadata_of_berkeley_db(
    hashed: bytes, position: int, value: bytes, match: str
) -> None:
    HASH.refuses(patched(hashed, position, value), match)


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (12, number(0x053162), "a B-tree of Berkeley DB"),
        (12, number(0x053162)[::-1], "a B-tree of Berkeley DB"),
        (12, number(0x042253), "a queue of Berkeley DB"),
        (12, bytes(4), "no hash database of Berkeley DB"),
        (16, number(7), "version 7 of hash databases"),
        (24, b"\1", "encrypted"),
        (26, b"\1", "checksums"),
        (48, number(2), "one of several"),
    ],
)
def test_other_forms_of_berkeley_db(hashed: bytes, position: int, value: bytes, match: str) -> None:
    HASH.does_not_know(patched(hashed, position, value), match)


def test_a_b_tree_and_berkeley_db_1(tmp_path: Path) -> None:
    file = tmp_path / "tree"
    script = "tie %t, 'DB_File', $ARGV[0], O_RDWR | O_CREAT, 0644, $DB_BTREE or die; $t{1} = 2"
    subprocess.run(["perl", "-MFcntl", "-MDB_File", "-e", script, file], check=True)
    HASH.does_not_know(file.read_bytes(), "a B-tree of Berkeley DB")
    # It began its pages of metadata with the magic number and the version.
    for order in "<>":
        for magic, version in ((0x061561, 2), (0x053162, 3)):
            HASH.does_not_know(struct.pack(f"{order}2I", magic, version), "Berkeley DB 1.85")
    for data in (b"", b"text", bytes(4096)):
        HASH.does_not_know(data, "no hash database of Berkeley DB")


def test_damaged_pages_of_berkeley_db(hashed: bytes) -> None:
    overflow = pages_of(hashed, 7)
    buckets = pages_of(hashed, 13) + pages_of(hashed, 2)
    assert len(overflow) > 5
    # The head of a chain, or a later page of it.
    first = next(at for at in overflow if hashed[at + 16 : at + 20] != number(0))
    second = 512 * int.from_bytes(hashed[first + 16 : first + 20], "little")
    last = second
    while any(hashed[last + 16 : last + 20]):
        last = 512 * int.from_bytes(hashed[last + 16 : last + 20], "little")
    for position, value, match in [
        (last + 16, number(1 << 30), "has not the .* bytes"),
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
        HASH.refuses(patched(hashed, position, value), match)


def test_damaged_items_of_berkeley_db(hashed: bytes) -> None:
    overflow = [number(page // 512) for page in pages_of(hashed, 7)]
    at = next(
        at
        for page in pages_of(hashed, 13) + pages_of(hashed, 2)
        for at in range(page + 26, page + 500)
        if hashed[at] == 3 and hashed[at + 4 : at + 8] in overflow
    )
    page = at // 512 * 512
    last = page + 26 + 2 * (hashed[page + 20] - 1)
    for position, value, match in [
        (at, b"\2", "of kind 2"),
        (at + 4, number(0), "has not the"),
        (at + 4, number(1 << 20), "is not in the file"),
        (at + 8, number(1 << 31), "may have at most"),
        (at + 8, number(10), "has not the 10 bytes"),
        (page + 26, b"\0\0", "not in it"),
        (page + 26, b"\xff\xff", "not in it"),
        (last, b"\x1a\0", "not in it"),
        (page + 20, b"\1\0", "without a value"),
    ]:
        HASH.refuses(patched(hashed, position, value), match)


def test_keys_of_berkeley_db_that_are_no_numbers(hashed: bytes) -> None:
    small = package("a")
    end = hashed.index(small) + len(small)
    page, offset = end // 512 * 512, struct.pack("<H", end % 512)
    index = hashed.index(offset, page + 26, page + 100)
    # The key begins one byte earlier.
    data = patched(hashed, index, struct.pack("<H", end % 512 - 1))
    HASH.refuses(patched(data, end - 1, b"\1"), "a key has 5 bytes")
