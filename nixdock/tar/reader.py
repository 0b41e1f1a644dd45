"""Reading tars strictly and in one pass, without unpacking them.

The reader supports ustar, PAX (POSIX.1-2008, pax, "ustar Interchange Format" and "pax Extended
Header") and GNU's long names. Everything that other readers of tars interpret differently is an
error, because the tar could show each of them other files: malformed numbers, members with two
names, GNU's old sparse files, global headers that change names or sizes, and data after the
end-of-archive marker. A missing marker is remarked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, Final, NoReturn

from nixdock.errors import ImageError
from nixdock.system.text import shown
from nixdock.tar.buffered_input import BufferedInput
from nixdock.tar.fields import BLOCK, CHECKSUM, ascii_sum, parse_number
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.pax_records import parse_records, record_integer, record_time
from nixdock.tar.sparse import check_extents, is_sparse, read_extents, sparse_records

__all__ = ["TarReader"]

_Parse = Callable[[bytes], int | None]

_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_ZEROS: Final = bytes(BLOCK)
_USTAR: Final = b"ustar\x0000"
# Limits in bytes: extended attributes of 64 KiB each fit easily, but memory stays bounded.
_MOST_EXTENSION: Final = 1 << 20
_MOST_EXTENSIONS: Final = 256 << 20
_SIZE_LIMIT: Final = 1 << 63
_MOST_MEMBERS: Final = 2_000_000

_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"7": Kind.FILE,
}

# Most members have the mode, the owner and the time of many others.
_parse_common_number: Final = lru_cache(maxsize=1024)(parse_number)

_NO_RECORDS: Final[Mapping[bytes, bytes]] = {}


@dataclass(slots=True)
class _Extension:
    """The extended headers before a member: GNU's long name and long target, and PAX records."""

    name: bytes | None = None
    target: bytes | None = None
    pax: Mapping[bytes, bytes] = field(default_factory=lambda: _NO_RECORDS)

    def __bool__(self) -> bool:
        return self.name is not None or self.target is not None or bool(self.pax)


class TarReader:
    """Iterate over the members of the tar in `stream`.

    The stream is read up to its end, so that a stream which hashes sees all bytes; the contents
    of files are skipped if it is seekable. `global_headers` counts the global headers, which are
    ignored; `remarks` say what is missing though every runtime does without it. Sparse files are
    members only if `sparse` is True. Raise ImageError, with `what` as its subject, if the tar is
    malformed.
    """

    def __init__(self, stream: BinaryIO, what: str = "the tar", *, sparse: bool = False) -> None:
        self._what = what
        self._sparse = sparse
        self.remarks: list[str] = []
        self._input = BufferedInput(stream)
        self._offset = 0
        self._stored = 0
        self._extensions_size = 0
        self.global_headers = 0

    def __iter__(self) -> Iterator[Member]:
        read, skip = self._input.read, self._input.skip
        extension = _Extension()
        members = 0
        while True:
            self._offset = self._input.position
            block = read(BLOCK)
            if block == _ZEROS or not block:
                break
            if len(block) != BLOCK:
                self._fail("it ends in the middle of a header")
            fields = _HEADER.unpack(block)
            self._check_sum(block, fields[6])
            flag = fields[7]
            if flag in {b"x", b"g", b"L", b"K"}:
                self._extend(extension, flag, self._extension_data(fields))
                continue
            member = self._member(fields, extension)
            if extension:
                extension = _Extension()
            members += 1
            if members > _MOST_MEMBERS:
                self._fail(f"it has more than {_MOST_MEMBERS} members")
            yield member
            size = member.size if member.extents is None else self._stored
            if size and not skip(size + -size % BLOCK):
                left = max(0, self._input.end - member.offset)
                self._fail(
                    f"it ends in the middle of {shown(member.name)!r}, after {left} of its {size}"
                    " bytes"
                )
        if extension:
            self._fail("an extended header has no member after it")
        self._check_end(bool(block))

    def _fail(self, message: str) -> NoReturn:
        raise ImageError(
            f"{self._what} is malformed at byte {self._offset}: {message}",
            place=f"byte {self._offset} of {self._what}",
        ) from None

    def _check_sum(self, block: bytes, stored: bytes) -> None:
        rest = block[: CHECKSUM.start] + block[CHECKSUM.stop :]
        if rest.isascii():
            sums = {ascii_sum(rest) + 8 * 0x20}
        else:
            unsigned = sum(rest) + 8 * 0x20
            # Some old programs add up signed bytes.
            sums = {unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)}
        if self._number(stored, "checksum") not in sums:
            self._fail("a header has a wrong checksum")

    def _number(self, data: bytes, name: str, parse: _Parse = parse_number) -> int:
        number = parse(data)
        if number is None:
            self._fail(f"the {name} {shown(data)!r} is not an octal number, or is too large")
        return number

    def _checked_size(self, size: int) -> int:
        if not 0 <= size < _SIZE_LIMIT:
            self._fail(f"the size {size} is impossible")
        return size

    def _extension_data(self, fields: tuple[bytes, ...]) -> bytes:
        size = self._checked_size(self._number(fields[4], "size"))
        if size > _MOST_EXTENSION:
            self._fail(f"an extended header has {size} bytes, more than {_MOST_EXTENSION}")
        self._extensions_size += size
        if self._extensions_size > _MOST_EXTENSIONS:
            self._fail(f"its extended headers have more than {_MOST_EXTENSIONS} bytes in all")
        data = self._input.read(size + -size % BLOCK)
        if len(data) < size + -size % BLOCK:
            self._fail("it ends in the middle of an extended header")
        return data[:size]

    def _extend(self, extension: _Extension, flag: bytes, data: bytes) -> None:
        """Add the contents of an extended header to `extension`."""
        if flag == b"g":
            self.global_headers += 1
            if keys := {b"path", b"linkpath", b"size"} & self._records(data).keys():
                names = ", ".join(sorted(map(shown, keys)))
                self._fail(f"a global header sets {names} of all members after it")
        elif flag == b"x":
            if extension.pax:
                self._fail("a member has two extended headers")
            extension.pax = self._records(data)
        elif flag == b"L":
            if extension.name is not None:
                self._fail("a member has two long names")
            extension.name = data.partition(b"\0")[0]
        else:
            if extension.target is not None:
                self._fail("a member has two long link targets")
            extension.target = data.partition(b"\0")[0]

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        try:
            return parse_records(data)
        except ValueError as error:
            self._fail(str(error))

    def _member(self, fields: tuple[bytes, ...], extension: _Extension) -> Member:
        name, mode, uid, gid, size, mtime, _, flag, target, magic, major, minor, prefix, tail = (
            fields
        )
        kind = _KINDS.get(flag)
        if kind is None:
            meaning = "a sparse file" if flag == b"S" else "an unknown kind of member"
            self._fail(f"{meaning} (type flag {shown(flag)!r}) is not supported")
        name = name.partition(b"\0")[0]
        if magic == _USTAR and prefix[:1] != b"\0":
            # star keeps times after byte 131, and marks its headers at the end of the block.
            prefix = prefix[:131] if tail[-4:] == b"tar\0" else prefix
            name = prefix.partition(b"\0")[0] + b"/" + name
        target = target.partition(b"\0")[0]
        if extension.name is not None:
            name = extension.name
        if extension.target is not None:
            target = extension.target
        member = Member(
            name=name,
            kind=kind,
            mode=self._number(mode, "mode", _parse_common_number) & 0o7777,
            uid=self._number(uid, "uid", _parse_common_number),
            gid=self._number(gid, "gid", _parse_common_number),
            size=self._checked_size(self._number(size, "size")),
            mtime=self._number(mtime, "mtime", _parse_common_number),
            target=target,
            device=(0, 0),
            offset=self._input.position,
            pax=extension.pax,
        )
        if extension.pax:
            member = self._with_records(member, extension)
            if kind == Kind.FILE and is_sparse(extension.pax):
                return self._sparse_file(member)
        if kind != Kind.FILE:
            return self._without_data(member, major, minor)
        # Tars that are older than the type flag of directories mark them by a trailing slash.
        if flag == b"\0" and member.name.endswith(b"/"):
            return member._replace(kind=Kind.DIRECTORY, size=0)
        return member

    def _with_records(self, member: Member, extension: _Extension) -> Member:
        """Return `member` with the values of its PAX records."""
        pax = extension.pax
        name, target = pax.get(b"path"), pax.get(b"linkpath")
        if name is not None and extension.name is not None:
            self._fail("a member has two long names")
        if target is not None and extension.target is not None:
            self._fail("a member has two long link targets")
        try:
            return member._replace(
                name=member.name if name is None else name,
                target=member.target if target is None else target,
                size=self._checked_size(record_integer(pax, b"size", member.size)),
                uid=record_integer(pax, b"uid", member.uid),
                gid=record_integer(pax, b"gid", member.gid),
                mtime=record_time(pax, member.mtime),
            )
        except ValueError as error:
            self._fail(str(error))

    def _sparse_file(self, member: Member) -> Member:
        """Return `member` with its name, size and extents; its contents may begin with these."""
        if not self._sparse:
            self._fail("it contains a sparse file, which is not supported here")
        try:
            name, size, extents = sparse_records(member.pax)
            stored = member.size
            if extents is None:
                extents, used = read_extents(self._input, stored)
                stored -= used
            check_extents(extents, size, stored)
        except ValueError as error:
            self._fail(f"the sparse file {shown(member.name)!r} is malformed: {error}")
        self._stored = stored
        return member._replace(
            name=member.name if name is None else name,
            size=self._checked_size(size),
            extents=extents,
            offset=self._input.position,
        )

    def _without_data(self, member: Member, major: bytes, minor: bytes) -> Member:
        """Return `member` without its size: some programs set it although no data follows."""
        device = (0, 0)
        if member.kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
            device = (self._number(major, "device"), self._number(minor, "device"))
        return member._replace(size=0, device=device)

    def _check_end(self, has_marker: bool) -> None:
        """Remark an end-of-archive marker of less than two blocks; check that only zeros follow."""
        if not has_marker:
            self.remarks.append("it has no end-of-archive marker")
            return
        block = self._input.read(BLOCK)
        if not block:
            self.remarks.append("its end-of-archive marker has one block of zeros, not two")
        self._offset += BLOCK
        while block:
            if block.count(0) != len(block):
                self._fail("there are non-zero bytes after its end-of-archive marker")
            self._offset += len(block)
            block = self._input.read_chunk()
