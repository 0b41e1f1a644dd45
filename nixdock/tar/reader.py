"""Reading tars strictly and in one pass; nothing is ever unpacked.

ustar, PAX (POSIX.1-2008, pax, "ustar Interchange Format" and "pax Extended Header") and GNU's
long names are understood. What readers of tar disagree on, so that it could show one of them
something else than another, is an error: numbers that are no numbers, names given twice, sparse
files, a global header that renames or resizes, an archive without its end or with more behind it.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NoReturn

from nixdock.errors import ImageError
from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK, CHECKSUM, XATTR_PREFIX, ascii_sum, parse_number
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member

__all__ = ["TarReader"]

_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_ZEROS: Final = bytes(BLOCK)
_USTAR: Final = b"ustar\x0000"
_CHUNK: Final = 1 << 20
_SEEK_CHUNK: Final = 1 << 14
# The largest extended header: a few extended attributes, each at most 64 KiB, fit easily.
_MOST_EXTENSION: Final = 1 << 20
# Of all extended headers together; readers hold much of them in memory.
_MOST_EXTENSIONS: Final = 256 << 20
_MOST_SIZE: Final = 1 << 63
_MOST_MEMBERS: Final = 2_000_000
_DECIMAL: Final = re.compile(rb"-?[0-9]{1,19}")
_TIME: Final = re.compile(rb"-?[0-9]{1,19}(\.[0-9]*)?")


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


_NO_RECORDS: Final[Mapping[bytes, bytes]] = {}


@dataclass(slots=True)
class _Extension:
    """What stood before a member's own header."""

    name: bytes | None = None
    target: bytes | None = None
    pax: Mapping[bytes, bytes] = field(default_factory=lambda: _NO_RECORDS)

    def __bool__(self) -> bool:
        return self.name is not None or self.target is not None or bool(self.pax)


class TarReader:
    """Iterate over the members of the tar in `stream`; raise ImageError where it is malformed.

    The whole stream is read, its end included, so that a stream which hashes sees everything; in
    a stream that can seek, files are skipped. `global_headers` counts those that were ignored.
    Errors start with `what`.
    """

    def __init__(self, stream: BinaryIO, what: str = "the tar") -> None:
        self._what = what
        self._input = _Input(stream)
        self._offset = 0
        self._extensions = 0
        self.global_headers = 0

    def __iter__(self) -> Iterator[Member]:
        take, skip = self._input.take, self._input.skip
        extension = _Extension()
        members = 0
        while True:
            self._offset = self._input.position
            block = take(BLOCK)
            if len(block) != BLOCK:
                self._fail("it ends in the middle of a header" if block else "its end is missing")
            if block == _ZEROS:
                break
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
            size = member.size
            if size and not skip(size + -size % BLOCK):
                self._fail(f"it ends in the middle of {shown(member.name)!r}")
        if extension:
            self._fail("an extended header has no member behind it")
        self._check_end()

    def _fail(self, message: str) -> NoReturn:
        raise ImageError(f"{self._what} is malformed at byte {self._offset}: {message}")

    def _check_sum(self, block: bytes, stored: bytes) -> None:
        rest = block[: CHECKSUM.start] + block[CHECKSUM.stop :]
        if rest.isascii():
            sums = {ascii_sum(rest) + 8 * 0x20}
        else:
            unsigned = sum(rest) + 8 * 0x20
            # Some old writers added up signed bytes.
            sums = {unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)}
        if self._number(stored, "checksum") not in sums:
            self._fail("a header has a wrong checksum")

    def _number(self, data: bytes, what: str) -> int:
        number = parse_number(data)
        if number is None:
            self._fail(f"the {what} {shown(data)!r} is not an octal number")
        return number

    def _size(self, data: bytes) -> int:
        size = self._number(data, "size")
        if not 0 <= size < _MOST_SIZE:
            self._fail(f"the size {size} is impossible")
        return size

    def _extension_data(self, fields: tuple[bytes, ...]) -> bytes:
        size = self._size(fields[4])
        if size > _MOST_EXTENSION:
            self._fail(f"an extended header has {size} bytes, more than {_MOST_EXTENSION}")
        self._extensions += size
        if self._extensions > _MOST_EXTENSIONS:
            self._fail(f"its extended headers have more than {_MOST_EXTENSIONS} bytes in all")
        data = self._input.take(size + -size % BLOCK)
        if len(data) < size + -size % BLOCK:
            self._fail("it ends in the middle of an extended header")
        return data[:size]

    def _extend(self, extension: _Extension, flag: bytes, data: bytes) -> None:
        if flag == b"g":
            self.global_headers += 1
            if changed := {b"path", b"linkpath", b"size"} & self._records(data).keys():
                names = ", ".join(sorted(map(shown, changed)))
                self._fail(f"a global header sets {names} of all that follows")
        elif flag == b"x":
            if extension.pax:
                self._fail("a member has two extended headers")
            extension.pax = self._records(data)
            if any(key.startswith(b"GNU.sparse.") for key in extension.pax):
                self._fail("it holds a sparse file, which is not supported")
        elif flag == b"L":
            if extension.name is not None:
                self._fail("a member has two long names")
            extension.name = data.partition(b"\0")[0]
        else:
            if extension.target is not None:
                self._fail("a member has two long link targets")
            extension.target = data.partition(b"\0")[0]

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        records: dict[bytes, bytes] = {}
        at = 0
        while at < len(data):
            space = data.find(b" ", at, at + 10)
            digits = data[at : max(space, at)]
            end = at + int(digits) if digits.isdigit() else 0
            key, separator, value = data[space + 1 : end - 1].partition(b"=")
            if not (space < end - 1 < len(data) and data[end - 1] == 0x0A and separator and key):
                self._fail("an extended header is not made of LENGTH KEY=VALUE records")
            if key in records:
                self._fail(f"an extended header has {shown(key)!r} twice")
            records[key] = value
            at = end
        # An empty value stands for the value in the header itself.
        return {
            key: value for key, value in records.items() if value or key.startswith(XATTR_PREFIX)
        }

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
            # star keeps times in the last 24 of these bytes, and says so at the end of the block.
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
            mode=self._number(mode, "mode") & 0o7777,
            uid=self._number(uid, "uid"),
            gid=self._number(gid, "gid"),
            size=self._size(size),
            mtime=self._number(mtime, "mtime"),
            target=target,
            device=(0, 0),
            offset=self._input.position,
            pax=extension.pax,
        )
        if extension.pax:
            member = self._with_records(member, extension)
        if kind != Kind.FILE:
            return self._without_data(member, major, minor)
        # Before there was a flag for directories, they were told by their names.
        if flag == b"\0" and member.name.endswith(b"/"):
            return member._replace(kind=Kind.DIRECTORY, size=0)
        return member

    def _with_records(self, member: Member, extension: _Extension) -> Member:
        pax = extension.pax
        name, target = pax.get(b"path"), pax.get(b"linkpath")
        if name is not None and extension.name is not None:
            self._fail("a member has two long names")
        if target is not None and extension.target is not None:
            self._fail("a member has two long link targets")
        size = self._decimal(pax, b"size", member.size)
        if not 0 <= size < _MOST_SIZE:
            self._fail(f"the size {size} is impossible")
        mtime: float = member.mtime
        if (text := pax.get(b"mtime")) is not None:
            if not _TIME.fullmatch(text):
                self._fail(f"the mtime {shown(text)!r} is not a number")
            mtime = float(text) if b"." in text else int(text)
        return member._replace(
            name=member.name if name is None else name,
            target=member.target if target is None else target,
            size=size,
            uid=self._decimal(pax, b"uid", member.uid),
            gid=self._decimal(pax, b"gid", member.gid),
            mtime=mtime,
        )

    def _decimal(self, pax: Mapping[bytes, bytes], key: bytes, default: int) -> int:
        text = pax.get(key)
        if text is None:
            return default
        if not _DECIMAL.fullmatch(text):
            self._fail(f"the {key.decode()} {shown(text)!r} is not a number")
        return int(text)

    def _without_data(self, member: Member, major: bytes, minor: bytes) -> Member:
        """Drop the size, which some writers give for what has no bytes in the archive."""
        device = (0, 0)
        if member.kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
            device = (self._number(major, "device"), self._number(minor, "device"))
        return member._replace(size=0, device=device)

    def _check_end(self) -> None:
        block = self._input.take(BLOCK)
        if len(block) != BLOCK:
            self._fail("its end is missing: there is one block of zeros, not two")
        self._offset += BLOCK
        while block:
            if block.count(0) != len(block):
                self._fail("there are other bytes than zeros behind its end")
            self._offset += len(block)
            block = self._input.take(_CHUNK)


class _Input:
    """A stream that is read in large pieces and taken in small ones."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.position = 0
        self._end: int | None = None
        if stream.seekable():
            self._start = stream.tell()
            self._end = stream.seek(0, io.SEEK_END) - self._start
            stream.seek(self._start)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end of the stream."""
        end = self._at + size
        if end > len(self._buffer):
            self._refill(size)
            end = self._at + size
        data = self._buffer[self._at : end]
        self._at += len(data)
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Pass over `size` bytes; return whether there were so many."""
        at = self._at + size
        if at <= len(self._buffer):
            self._at = at
            self.position += size
            return True
        if self._end is None:
            return self._read_over(size)
        self.position += size
        self._buffer, self._at = b"", 0
        if self.position > self._end:
            return False
        self._stream.seek(self._start + self.position)
        return True

    def _read_over(self, size: int) -> bool:
        left = size
        while (ready := len(self._buffer) - self._at) < left:
            left -= ready
            self.position += ready
            self._buffer, self._at = self._stream.read(_CHUNK), 0
            if not self._buffer:
                return False
        self._at += left
        self.position += left
        return True

    def _refill(self, size: int) -> None:
        pieces = [self._buffer[self._at :]]
        missing = size - len(pieces[0])
        least = _CHUNK if self._end is None else _SEEK_CHUNK
        while missing > 0 and (piece := self._stream.read(max(missing, least))):
            pieces.append(piece)
            missing -= len(piece)
        self._buffer, self._at = b"".join(pieces), 0
