"""Sparse files in GNU tar's PAX forms: expanded as GNU tar itself does."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from nixdock.errors import ImageError
from nixdock.tar.member import Member
from nixdock.tar.reader import TarReader
from nixdock.tar.sparse import SparseReader
from tests.unit.layers.blobs import Pieces
from tests.unit.tar.test_reader import END, pax, raw, record


def expanded(data: bytes, member: Member) -> bytes:
    assert member.extents is not None
    stored = sum(length for _, length in member.extents)
    stream = Pieces(data[member.offset : member.offset + stored], 100)
    with io.BufferedReader(SparseReader(stream, member.size, member.extents), 1000) as reader:
        return reader.read()


@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0"])
@pytest.mark.parametrize("holes", [1, 100])
def test_gnu_tar(tmp_path: Path, form: str, holes: int) -> None:
    with (tmp_path / "file").open("wb") as file:
        for i in range(holes):
            file.seek((i + 1) * 1_000_000)
            file.write(b"data %d" % i)
        file.truncate((holes + 2) * 1_000_000)
    (tmp_path / "next").write_text("next")
    command = ["tar", "-S", "--format=pax", f"--sparse-version={form}", "-cf", "x.tar"]
    subprocess.run([*command, "file", "next"], cwd=tmp_path, check=True)
    data = (tmp_path / "x.tar").read_bytes()
    sparse, after = TarReader(io.BytesIO(data), sparse=True)
    assert (sparse.name, after.name, after.size) == (b"file", b"next", 4)
    assert expanded(data, sparse) == (tmp_path / "file").read_bytes()
    with pytest.raises(ImageError, match="it contains a sparse file, which is not supported here"):
        list(TarReader(io.BytesIO(data)))


def sparse(
    *extents: tuple[str, object], size: object = 100, stored: int = 3, count: object = 1
) -> bytes:
    records = [record(f"GNU.sparse.{key}", value) for key, value in extents]
    if count is not None:
        records.append(record("GNU.sparse.numblocks", count))
    return (
        pax(record("GNU.sparse.size", size), *records)
        + raw(size=b"%o" % stored)
        + b"x" * stored
        + bytes(-stored % 512)
        + END
    )


def in_data(text: bytes, stored: int = 512) -> bytes:
    header = pax(
        record("GNU.sparse.major", 1),
        record("GNU.sparse.minor", 0),
        record("GNU.sparse.name", "n"),
        record("GNU.sparse.realsize", 100),
    )
    return header + raw(size=b"%o" % stored) + text.ljust(stored, b"\0") + END


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (sparse(("map", "0,3,4")), "not pairs"),
        (sparse(("map", "0,x")), "'x' is not a number"),
        (sparse(("map", "0,-3")), "'-3' is not a number"),
        (sparse(("map", "98,3")), "beyond its end"),
        (sparse(("map", "5,2,6,1"), count=2), "overlap"),
        (sparse(("map", "0,2,3,1"), count=1), "it has 2 extents, but states 1"),
        (sparse(("map", "0,3"), count=None), "it has 1 extents, but states no number"),
        (sparse(("map", "0,2")), "it has 3 bytes of contents, but extents of 2"),
        (sparse(("map", "0,3"), size="x"), "'x' is not a number"),
        (sparse(("map", "0,3"), size=10**18 * 5), None),
        (sparse(("offset", 0), ("offset", 1)), "not pairs"),
        (sparse(("numbytes", 3), ("offset", 0)), "not pairs"),
        (sparse(("offset", 0), ("numbytes", "3,4")), "not pairs"),
        (sparse(("major", 2), ("minor", 0)), "its form is unknown"),
        (in_data(b""), "it ends in the middle of its extents"),
        (in_data(b"1\n0\n"), "it ends in the middle of its extents"),
        (in_data(b"x\n"), "'x' is not a number"),
        (in_data(b"100001\n"), "it has more than 100000 extents"),
        (in_data(b"1\n0\n512\n", 1024), "beyond its end"),
        (in_data(b"9" * 2048, 2048), "its extents are not numbers"),
        (in_data(b"0\n"), None),
    ],
)
def test_malformed(data: bytes, message: str | None) -> None:
    if message is None:
        assert len(list(TarReader(io.BytesIO(data), sparse=True))) == 1
        return
    with pytest.raises(ImageError, match=message):
        list(TarReader(io.BytesIO(data), sparse=True))
