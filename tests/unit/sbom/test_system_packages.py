"""The packages of distributions, in the merged files of layers."""

from __future__ import annotations

import io
import sqlite3
import struct
import tarfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from nixdock import ImageError, list_packages
from nixdock.sbom.bill import BasePart, SystemPackage
from tests.unit.docker_archive import File, archive, entry, layer, link

DPKG = """\
Package: libc6
Status: install ok installed
Source: glibc (2.36-9)
Architecture: amd64
Version: 2.36-9+deb12u4
Homepage: https://libc.example
Description: GNU C Library
 A long description.
 .
Conffiles:
 /etc/ld.so.conf 123

Package: removed
Status: deinstall ok config-files
Version: 1

Package: dash
Status: hold ok installed
Architecture: amd64
Version: 0.5.12-2
"""
APK = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the C library\nU:https://musl.example\nL:MIT\no:musl\n\n"
OS = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def base_of(path: Path, *layers: Sequence[File]) -> BasePart:
    file = archive(path / "image.tar", [layer(*files) for files in layers])
    base = list_packages(file).base
    assert base is not None
    return base


def test_dpkg(tmp_path: Path) -> None:
    base = base_of(tmp_path, [("var/lib/dpkg/status", DPKG), ("etc/os-release", OS)])
    assert (base.distribution, base.release, base.unread) == ("debian", "12", "")
    assert base.title == "Debian GNU/Linux 12 (bookworm)"
    assert base.packages == (
        SystemPackage("deb", "dash", "0.5.12-2", "amd64"),
        SystemPackage(
            "deb", "libc6", "2.36-9+deb12u4", "amd64", source="glibc",
            homepage="https://libc.example", description="GNU C Library",
        ),
    )  # fmt: skip


def test_files_of_single_packages(tmp_path: Path) -> None:
    """As images without a package manager have them."""
    text = "Package: tzdata\nVersion: 2024a\nArchitecture: all\n"
    base = base_of(
        tmp_path,
        [("var/lib/dpkg/status.d/tzdata", text), ("var/lib/dpkg/status.d/tzdata.md5sums", "1  x")],
    )
    assert base.packages == (SystemPackage("deb", "tzdata", "2024a", "all"),)


@pytest.mark.parametrize("name", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_apk(tmp_path: Path, name: str) -> None:
    base = base_of(tmp_path, [(name, APK)])
    assert base.packages == (
        SystemPackage(
            "apk", "musl", "1.2.4-r2", "x86_64", license="MIT",
            homepage="https://musl.example", description="the C library",
        ),
    )  # fmt: skip


def test_the_uppermost_database_counts(tmp_path: Path) -> None:
    lower = [("var/lib/dpkg/status", DPKG)]
    assert base_of(tmp_path, lower, [("var/lib/dpkg/status", "")]).packages == ()
    gone = base_of(tmp_path, lower, [("var/lib/dpkg/.wh.status", "")])
    assert gone.packages == ()
    assert "no database" in gone.unread


def test_symlinks_stay_in_the_image(tmp_path: Path) -> None:
    files: list[File] = [
        ("usr/lib/os-release", OS),
        link("etc/os-release", "../../../usr/lib/os-release"),
    ]
    assert base_of(tmp_path, files).release == "12"
    outside = base_of(tmp_path, [link("var/lib/dpkg/status", "/etc/passwd")])
    assert outside.packages == ()
    assert outside.unread


def test_old_databases_of_rpm_are_named(tmp_path: Path) -> None:
    assert "rpm" in base_of(tmp_path, [entry("var/lib/rpm/Packages")]).unread


def header(*tags: tuple[int, int, bytes]) -> bytes:
    index, data = b"", b""
    for tag, kind, value in tags:
        index += struct.pack(">4I", tag, kind, len(data), 1)
        data += value
    return struct.pack(">2I", len(tags), len(data)) + index + data


def rpm_database(path: Path, *headers: bytes) -> bytes:
    file = path / "rpmdb.sqlite"
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table Packages (hnum integer primary key, blob blob not null)")
        connection.executemany("insert into Packages(blob) values (?)", [(h,) for h in headers])
    return file.read_bytes()


BASH = header(
    (1000, 6, b"bash\0"), (1001, 6, b"5.2\0"), (1002, 6, b"1.fc39\0"),
    (1003, 4, struct.pack(">I", 2)), (1004, 9, b"The shell\0"), (1014, 6, b"GPL-3.0-or-later\0"),
    (1022, 6, b"x86_64\0"), (1044, 6, b"bash-src-5.2-1.fc39.src.rpm\0"), (9999, 8, b"x\0"),
)  # fmt: skip


def with_rpm(path: Path, data: bytes) -> Path:
    tar = path / "rpm.tar"
    info = entry("var/lib/rpm/rpmdb.sqlite", size=len(data))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as writer:
        writer.addfile(info, io.BytesIO(data))
    return archive(tar, [out.getvalue()])


def test_rpm(tmp_path: Path) -> None:
    key = header((1000, 6, b"gpg-pubkey\0"), (1001, 6, b"1\0"), (1002, 6, b"1\0"))
    base = list_packages(with_rpm(tmp_path, rpm_database(tmp_path, BASH, key))).base
    assert base is not None
    assert base.packages == (
        SystemPackage(
            "rpm", "bash", "5.2-1.fc39", "x86_64", source="bash-src", license="GPL-3.0-or-later",
            description="The shell", epoch="2",
        ),
    )  # fmt: skip
    assert base.unread == ""


@pytest.mark.parametrize("damaged", [b"", BASH[:7], BASH[:40], BASH[:-30], b"\xff" * 64])
def test_damaged_headers_of_rpm(tmp_path: Path, damaged: bytes) -> None:
    file = with_rpm(tmp_path, rpm_database(tmp_path, damaged))
    with pytest.raises(ImageError, match=r"/var/lib/rpm/rpmdb\.sqlite is not an rpm database: a"):
        list_packages(file)
