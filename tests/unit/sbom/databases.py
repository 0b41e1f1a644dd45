"""Small databases of package managers."""

from __future__ import annotations

import io
import sqlite3
import struct
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.unit.docker_archive import entry

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
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of files with any contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            tar.addfile(entry(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


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
