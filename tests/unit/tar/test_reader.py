"""The strict tar reader: it agrees with tarfile about valid tars and refuses all others."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.layers.hashed import HashedReader, buffered
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader

KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.LNKTYPE: Kind.HARD_LINK,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.FIFOTYPE: Kind.FIFO,
}

component = st.one_of(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12),
    st.sampled_from(["a", "long" * 30, "é" * 60]),
).filter(lambda name: name not in {".", ".."})
paths = st.lists(component, min_size=1, max_size=5).map("/".join)
numbers = st.one_of(st.integers(0, 0o7777777), st.integers(0, 2**31))


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(paths))
    info.type = draw(st.sampled_from(sorted(KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid, info.mtime = draw(numbers), draw(numbers), draw(st.integers(0, 2**40))
    data = b""
    if info.type in {tarfile.LNKTYPE, tarfile.SYMTYPE}:
        info.linkname = draw(paths)
    if info.type in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 4095))
    if info.type == tarfile.REGTYPE:
        data = draw(st.binary(max_size=1500))
        info.size = len(data)
    return info, data


def archive(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT, **kwargs: Any
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, **kwargs) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def info(name: str, **values: Any) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(header, key, value)
    return header


def read(data: bytes, *, seekable: bool = True) -> list[Member]:
    if seekable:
        return list(TarReader(io.BytesIO(data)))
    with buffered(HashedReader(io.FileIO(_descriptor_of(data)))) as stream:
        return list(TarReader(stream))


def _descriptor_of(data: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return os.dup(file.fileno())


@settings(deadline=None)
@given(st.lists(members(), max_size=6), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_agrees_with_tarfile(entries: list[tuple[tarfile.TarInfo, bytes]], form: int) -> None:
    data = archive(entries, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = tar.getmembers()
    got = read(data)
    assert len(got) == len(expected) == len(entries)
    for member, other, (_, content) in zip(got, expected, entries, strict=True):
        assert normalised(member.name) == normalised(other.name.encode("utf-8", "surrogateescape"))
        assert member.kind is KINDS[other.type]
        assert (member.mode, member.uid, member.gid) == (other.mode, other.uid, other.gid)
        assert (member.size, member.mtime) == (other.size, other.mtime)
        assert member.target == other.linkname.encode("utf-8", "surrogateescape")
        assert member.device == (other.devmajor, other.devminor)
        assert data[member.offset : member.offset + member.size] == content


@settings(deadline=None)
@given(st.lists(members(), max_size=6))
def test_the_same_members_of_seekable_streams_and_others(
    entries: list[tuple[tarfile.TarInfo, bytes]],
) -> None:
    data = archive(entries)
    assert read(data) == read(data, seekable=False)


@settings(deadline=None)
@given(st.lists(members(), max_size=3), st.data())
def test_damage_causes_image_errors_only(
    entries: list[tuple[tarfile.TarInfo, bytes]], draw: st.DataObject
) -> None:
    data = bytearray(archive(entries))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        read(bytes(data)[: draw.draw(st.integers(0, len(data)))])
    except ImageError as error:
        assert "malformed" in str(error)


def test_large_files_are_skipped() -> None:
    files = [(info(f"f{i}", size=size), bytes(size)) for i, size in enumerate([3 << 20, 0, 511])]
    data = archive(files)
    for seekable in (True, False):
        assert [m.size for m in read(data, seekable=seekable)] == [3 << 20, 0, 511]


def test_all_bytes_of_a_stream_are_read() -> None:
    data = archive([(info("a", size=3 << 20), bytes(3 << 20)), (info("b"), b"")])
    stream = HashedReader(io.FileIO(_descriptor_of(data)))
    with buffered(stream) as buffer:
        list(TarReader(buffer))
        buffer.read()
    assert stream.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_extended_attributes_are_bytes() -> None:
    header = info("f", pax_headers={"SCHILY.xattr.user.x": "a=b\n", "comment": "x"})
    assert read(archive([(header, b"")]))[0].xattrs == {b"user.x": b"a=b\n"}


def test_names_that_are_not_text_and_fractions_of_seconds() -> None:
    header = info("caf\udce9" * 40, mtime=1.5)
    (member,) = read(archive([(header, b"")]))
    assert member.name == b"caf\xe9" * 40
    assert member.mtime == 1.5


def test_name_prefixes_and_directories_marked_by_a_slash() -> None:
    long = "d" * 80 + "/" + "f" * 80
    (member,) = read(archive([(info(long), b"")], tarfile.USTAR_FORMAT))
    assert member.name == long.encode()
    (old,) = read(archive([(info("d/", type=tarfile.AREGTYPE), b"")]))
    assert old.kind == Kind.DIRECTORY


def test_an_empty_archive() -> None:
    assert read(archive([])) == []


def test_a_global_header_is_counted_unless_it_changes_names() -> None:
    reader = TarReader(io.BytesIO(archive([(info("a"), b"")], pax_headers={"comment": "git"})))
    assert [member.name for member in reader] == [b"a"]
    assert reader.global_headers == 1
    with pytest.raises(ImageError, match="global header sets path of all members after it"):
        read(archive([(info("a"), b"")], pax_headers={"path": "b"}))


def raw(name: bytes = b"f", size: bytes = b"0", flag: bytes = b"0", **fields: bytes) -> bytes:
    """Return a header block with these fields."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = fields.get("uid", b"0000000\0").ljust(8, b"\0")
    block[116:124] = b"0000000\0"
    block[329:337] = fields.get("major", b"").ljust(8, b"\0")
    block[124:136] = size.ljust(12, b"\0")
    block[136:148] = fields.get("mtime", b"00000000000\0")
    block[156:157] = flag
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


END = bytes(1024)


def pax(*records: bytes) -> bytes:
    return extension(b"x", b"".join(records))


def record(key: str, value: object) -> bytes:
    text = f" {key}={value}\n".encode()
    return b"%d%b" % (len(text) + 2, text)


def extension(flag: bytes, data: bytes) -> bytes:
    return raw(b"ext", b"%o" % len(data), flag) + data.ljust(-(-len(data) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw() + bytes(512) + raw(b"g") + END, "non-zero bytes after its end-of-archive marker"),
        (raw() + END + b"x", "non-zero bytes after its end-of-archive marker"),
        (raw() + bytes(513), "ends in the middle of its end-of-archive marker"),
        (raw() + bytes(1023), "ends in the middle of its end-of-archive marker"),
        (raw()[:300], "middle of a header"),
        (raw(size=b"1000") + b"abc", "middle of 'f', after 3 of its 512 bytes"),
        (raw()[:20] + b"x" + raw()[21:] + END, "checksum"),
        (raw(b"a") + raw()[:20] + b"x" + raw()[21:] + END, "checksum"),
        (raw() + raw()[:130] + b"1" + raw()[131:] + END, "checksum"),
        (raw()[:110] + b"x" + raw()[111:] + END, "checksum"),
        (raw(size=b"\xff" * 12) + END, "the size -1 is impossible"),
        (raw(size=b"\x80" + b"\x7f" * 11) + END, "is too large"),
        (raw(mtime=b"\x80" + b"\0" * 2 + b"\x40" + b"\0" * 8) + END, "the mtime .* is too large"),
        (raw(size=b"12x") + END, "not an octal number"),
        (raw(size=b"-1") + END, "not an octal number"),
        (raw(size=b"0o7") + END, "not an octal number"),
        (raw(uid=b"9") + END, "not an octal number"),
        # Go takes the first for 1, and Python's tarfile for 0; the second is an error for Go.
        (raw(size=b"\0001") + END, "the size .* is not an octal number"),
        (raw(uid=b"1 \0x") + END, "the uid .* is not an octal number"),
        # Go also reads numbers that mean nothing.
        (raw(major=b"x") + END, "the device 'x.*' is not an octal number"),
        (raw(b"ext", b"0", b"L", uid=b"x") + raw() + END, "the uid 'x.*' is not an octal number"),
        (raw(flag=b"S") + END, "sparse"),
        (raw(flag=b"V") + END, "type flag 'V'"),
        (pax(record("GNU.sparse.major", 1)) + raw() + END, "sparse"),
        (pax(b"10 size=-1\n") + raw() + END, "LENGTH KEY=VALUE"),
        (pax(record("size", -1)) + raw() + END, "impossible"),
        (pax(record("size", 1 << 63)) + raw() + END, "the size .* is too large"),
        (pax(record("uid", 1 << 63)) + raw() + END, "the uid .* is too large"),
        (pax(record("mtime", f"-{(1 << 63) + 1}.5")) + raw() + END, "the mtime .* is too large"),
        (pax(record("size", "0x1")) + raw() + END, "not a number"),
        (pax(record("mtime", "nan")) + raw() + END, "not a number"),
        (pax(record("uid", "1_")) + raw() + END, "not a number"),
        (
            pax(b"10 path=a\n" * 2) + raw() + END,
            "the key 'path' appears twice in an extended header",
        ),
        (pax(b"8 path=a\n") + raw() + END, "LENGTH KEY=VALUE"),
        (pax(b"10 path=a\n", b"path=b\n") + raw() + END, "LENGTH KEY=VALUE"),
        (pax(b"10 path=a\n", b"0 path=b\n") + raw() + END, "LENGTH KEY=VALUE"),
        (pax(b"99999999999 path=a\n") + raw() + END, "LENGTH KEY=VALUE"),
        (pax(b"10 path=a\n") * 2 + raw() + END, "two extended headers"),
        (pax(b"10 path=a\n") + extension(b"L", b"b\0") + raw() + END, "two long names"),
        (extension(b"L", b"b\0") * 2 + raw() + END, "two long names"),
        (extension(b"K", b"b\0") * 2 + raw() + END, "two long link targets"),
        (pax(b"10 path=a\n") + END, "no member after it"),
        (raw(b"x", b"7777777", b"x") + END, "more than 1048576"),
        (raw(b"x", b"1000", b"x") + b"abc", "middle of an extended header"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    for seekable in (True, False):
        with pytest.raises(ImageError, match=f"malformed at byte [0-9]+: .*{message}") as caught:
            read(data, seekable=seekable)
        assert re.fullmatch("byte [0-9]+ of the tar", caught.value.place or "")


@pytest.mark.parametrize(
    ("end", "remarks"),
    [
        (b"", ["it has no end-of-archive marker"]),
        (bytes(512), ["its end-of-archive marker has one block of zeros, not two"]),
        (END, []),
        (bytes(1200), []),
        (bytes(10240), []),
    ],
)
@pytest.mark.parametrize("members", [0, 1])
def test_a_missing_end_is_remarked(end: bytes, remarks: list[str], members: int) -> None:
    reader = TarReader(io.BytesIO(raw() * members + end))
    assert len(list(reader)) == members
    assert reader.remarks == remarks


def test_a_checksum_is_not_taken_modulo_that_of_ascii_bytes() -> None:
    block = bytearray(raw())
    block[157:257] = b"\xff" * 100
    block[345:500] = b"\xff" * 155
    block[148:156] = b" " * 8
    total = sum(block)
    assert total > 65521
    block[148:156] = b"%06o\0 " % total
    (member,) = read(bytes(block) + END)
    assert member.target == b"\xff" * 100
    block[148:156] = b"%06o\0 " % (total - 65521)
    with pytest.raises(ImageError, match="wrong checksum"):
        read(bytes(block) + END)


def test_a_checksum_is_not_in_base_256() -> None:
    block = raw()
    number = 0x80 << 56 | int(block[148:155].rstrip(b"\0"), 8)
    with pytest.raises(ImageError, match="wrong checksum"):
        read(block[:148] + number.to_bytes(8, "big") + block[156:] + END)


@pytest.mark.parametrize(
    "uid", [b"0000007\0", b"     7 \0", b"7\0\0 \0 \0\0", b"7\0x", b"00000007", b"  7     "]
)
def test_forms_of_a_number_that_all_readers_know(uid: bytes) -> None:
    assert [member.uid for member in read(raw(uid=uid) + END)] == [7]


@pytest.mark.parametrize("uid", [b"", b"       \0", b"\0       "])
def test_a_field_without_a_number_is_zero(uid: bytes) -> None:
    assert [member.uid for member in read(raw(uid=uid) + END)] == [0]


def test_unusual_but_unambiguous_headers() -> None:
    # GNU's base-256, a size without contents, and a checksum of signed bytes.
    big = raw(uid=b"\x80\0\0\0\0\x10\0\0")
    link = raw(b"d", b"1000", b"5")
    signed = bytearray(raw(b"\xe9"))
    signed[148:156] = b" " * 8
    signed[148:156] = b"%06o\0 " % (sum(signed) - 256)
    entries = read(big + link + bytes(signed) + END)
    assert [m.uid for m in entries] == [1 << 20, 0, 0]
    assert [m.size for m in entries] == [0, 0, 0]
    assert entries[2].name == b"\xe9"


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"/", b""), (b"./", b""), (b"./a//b/./c/", b"a/b/c"), (b"/nix/store/", b"nix/store")],
)
def test_normalised(name: bytes, expected: bytes) -> None:
    assert normalised(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"", r"^a name is empty$"),
        (b"..", r"^the name '\.\.' contains '\.\.'$"),
        (b"a/../b", r"contains '\.\.'"),
        (b"/..", r"contains '\.\.'"),
        (b"a\0b", r"^the name 'a\\\\x00b' contains a NUL byte$"),
        (b"a" * 256, "is too long for a file system"),
        (b"a/" * 2100, "is too long for a file system"),
        (b"a/" * 2049, "is too long for a file system"),
    ],
)
def test_invalid_names(name: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        normalised(name)
