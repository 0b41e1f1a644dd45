"""Databases of dpkg and apk that take no more memory than what is wanted of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable

import pytest

from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.text_databases import apk_packages, dpkg_packages, os_release
from nixdock.sbom.unknown_format import UnknownFormatError

MIB = 1 << 20
NUMBERED = b"".join(b"key%d:\n" % i for i in range(100_000))
READERS = [dpkg_packages, apk_packages, os_release]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("data", [b"ab\n" * MIB, b"\n" * MIB, NUMBERED, b"Package: a\n" * 100_000])
def test_lines_that_nobody_wants_take_no_memory(
    read: Callable[[bytes], Iterable[object]], data: bytes
) -> None:
    tracemalloc.start()
    try:
        assert [*read(data)] == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB // 4


def test_a_value_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="a value has more than 1048576 bytes"):
        [*apk_packages(b"P:a\nL:" + b"x " * MIB)]
    # That of a field that is not wanted may be as long.
    long = b"P:a\nV:1\nD:" + b"x " * MIB
    assert [*apk_packages(long)] == [SystemPackage("apk", "a", "1", "")]


def test_keys() -> None:
    """Those of dpkg do not depend on case, and those of apk do; the first of equal ones counts."""
    data = b"PACKAGE: a\nversion:  1\t2 \nVersion: 3\nP:b\nV:4\np:c\nP:d\n E:x\n"
    assert [*dpkg_packages(data)] == [SystemPackage("deb", "a", "1 2", "")]
    assert [*apk_packages(data)] == [SystemPackage("apk", "b", "4", "")]


def test_lines_end_only_where_the_formats_say() -> None:
    data = "Package: a\u2028b\r\nVersion: 1\r\n\t\nPackage: c\nVersion: \u00a02\x0c".encode()
    assert [(each.name, each.version) for each in dpkg_packages(data)] == [("a b", "1"), ("c", "2")]


def test_no_text() -> None:
    with pytest.raises(UnknownFormatError):
        [*dpkg_packages(b"Package: a\nVersion: 1\n\n\0")]


def test_os_release() -> None:
    data = b"# \xff\nNAME=x\nID='debian'\n VERSION_ID = \"12\"\nID=last"
    assert os_release(data) == {"ID": "last", "VERSION_ID": "12"}


@pytest.mark.parametrize(
    ("state", "has_files"),
    [
        ("install ok installed", True),
        ("hold ok installed", True),
        ("install ok triggers-pending", True),
        ("install ok triggers-awaited", True),
        ("install ok unpacked", True),
        ("install reinstreq half-installed", True),
        ("install ok half-configured", True),
        ("", True),
        ("deinstall ok config-files", False),
        ("purge ok not-installed", False),
    ],
)
def test_packages_whose_files_are_there(state: str, has_files: bool) -> None:
    """Also if their installation was not finished, as in an image that was made in steps."""
    data = f"Package: a\nStatus: {state}\nVersion: 1\n".encode()
    assert [*dpkg_packages(data)] == [SystemPackage("deb", "a", "1", "")] * has_files
