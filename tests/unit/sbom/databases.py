"""Small databases of package managers."""

from __future__ import annotations

import io
import sqlite3
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Mapping, Sequence
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

# Arguments: file, page size, byte order, keys to delete again. Records come from standard input.
WRITE_HASH = r"""
use strict; use DB_File; use Fcntl;
my ($file, $page, $order, @deleted) = @ARGV;
($DB_HASH->{bsize}, $DB_HASH->{lorder}, $DB_HASH->{ffactor}) = ($page, $order, 2);
my $db = tie my %records, 'DB_File', $file, O_RDWR | O_CREAT, 0644, $DB_HASH or die $!;
binmode STDIN; local $/;
my ($input, $packed) = (scalar <STDIN>, $order == 1234 ? 'V' : 'N');
while (length $input) {
    my ($key, $value) = unpack 'N N/a*', $input;
    substr($input, 0, 8 + length $value) = '';
    $records{pack $packed, $key} = $value;
}
delete $records{pack $packed, $_} for @deleted;
"""


def hash_database(
    path: Path, *headers: bytes, page: int = 4096, order: int = 1234, deleted: Sequence[int] = ()
) -> bytes:
    """A database in the form of Berkeley DB, which Berkeley DB itself writes, as rpm fills it.

    `order` is 1234 or 4321, as of the machine on which it was made. The packages with the numbers
    `deleted`, from 1, are removed again.
    """
    file = path / "Packages"
    file.unlink(missing_ok=True)
    records = [struct.pack("=I", len(headers)), *headers]
    given = b"".join(struct.pack(">2I", key, len(each)) + each for key, each in enumerate(records))
    arguments = [str(each) for each in (file, page, order, *deleted)]
    subprocess.run(["perl", "-e", WRITE_HASH, *arguments], input=given, check=True)
    return file.read_bytes()


def ndb_database(*headers: bytes, pages: int = 1, gap: int = 0) -> bytes:
    """A database in the form ndb; `gap` blocks are free before each blob, as after a removal."""
    slots, blobs = [], b""
    for number, each in enumerate(headers, 1):
        blobs += bytes(16 * gap)
        start = pages * 256 + len(blobs) // 16
        blob = struct.pack("<4s3I", b"BlbS", number, 1_700_000_000, len(each)) + each
        blob += bytes((4 - len(blob)) % 16)
        blob += struct.pack("<2I4s", zlib.adler32(blob), len(each), b"BlbE")
        slots.append(struct.pack("<4s3I", b"Slot", number, start, len(blob) // 16))
        blobs += blob
    slots += [struct.pack("<4s3I", b"Slot", 0, 0, 0)] * (pages * 256 - 2 - len(slots))
    header = struct.pack("<4s4I12x", b"RpmP", 0, 7, pages, len(headers) + 1)
    return header + b"".join(reversed(slots)) + blobs
