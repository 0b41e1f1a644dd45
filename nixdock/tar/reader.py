"""Reading tars strictly and in one pass, without unpacking them.

The reader supports ustar, PAX (POSIX.1-2008, pax, "ustar Interchange Format" and "pax Extended
Header") and GNU's long names. Everything that other readers of tars interpret differently is an
error, because the tar could show each of them other files: malformed numbers, members with two
names, GNU's old sparse files, global headers that change names or sizes, and data after the
end-of-archive marker. A missing marker is remarked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final, NoReturn

from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.system.text import shown
from nixdock.tar.buffered_input import BufferedInput
from nixdock.tar.fields import BLOCK, CHECKSUM, ascii_sum
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.pax_records import parse_records, record_integer, record_time
from nixdock.tar.shared_fields import (
    EXTENSIONS,
    SharedFields,
    number_of,
    parse_shared,
    shared_bytes,
)
from nixdock.tar.sparse import check_extents, is_sparse, read_extents, sparse_records

__all__ = ["TarReader"]

_ZEROS: Final = bytes(BLOCK)
# Limits in bytes: extended attributes of 64 KiB each fit easily, but memory stays bounded.
_MOST_EXTENSION: Final = 1 << 20
_MOST_EXTENSIONS: Final = 256 << 20
_SIZE_LIMIT: Final = 1 << 63
_MOST_MEMBERS: Final = 2_000_000

_NO_RECORDS: Final[Mapping[bytes, bytes]] = {}


class _Extension(Struct):
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
        extension: _Extension | None = None
        members = 0
        while True:
            self._offset = self._input.position
            block = read(BLOCK)
            if block == _ZEROS or not block:
                break
            if len(block) != BLOCK:
                self._fail("it ends in the middle of a header")
            shared = self._shared_fields(block)
            size = self._checked_size(self._number(block[124:136], "size"))
            if shared.flag in EXTENSIONS:
                extension = extension or _Extension()
                self._extend(extension, shared.flag, self._extension_data(size))
                continue
            member = self._member(block[:100], size, shared, extension)
            extension = None
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

    def _shared_fields(self, block: bytes) -> SharedFields:
        """Return the fields that other headers may share, after the checksum was checked."""
        try:
            shared = parse_shared(shared_bytes(block))
        except ValueError as error:
            # A wrong checksum says more than a malformed field.
            self._check_sum(block)
            self._fail(str(error))
        others = block[:100] + block[124:136]
        # Nearly all programs write the checksum in this way.
        if not (
            shared.ascii_sum is not None
            and others.isascii()
            and block[CHECKSUM] == b"%06o\0 " % (shared.ascii_sum + ascii_sum(others) + 8 * 0x20)
        ):
            self._check_sum(block)
        return shared

    def _check_sum(self, block: bytes) -> None:
        rest = block[: CHECKSUM.start] + block[CHECKSUM.stop :]
        if rest.isascii():
            sums = {ascii_sum(rest) + 8 * 0x20}
        else:
            unsigned = sum(rest) + 8 * 0x20
            # Some old programs add up signed bytes.
            sums = {unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)}
        field = block[CHECKSUM]
        # No reader but this one would take it in base-256.
        if field[0] & 0x80 or self._number(field, "checksum") not in sums:
            self._fail("a header has a wrong checksum")

    def _number(self, data: bytes, name: str) -> int:
        try:
            return number_of(data, name)
        except ValueError as error:
            self._fail(str(error))

    def _checked_size(self, size: int) -> int:
        if not 0 <= size < _SIZE_LIMIT:
            self._fail(f"the size {size} is impossible")
        return size

    def _extension_data(self, size: int) -> bytes:
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
            if extension:
                # Some readers forget the other one then, and take the member for another file.
                self._fail("a global header is between an extended header and its member")
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

    def _member(
        self, name: bytes, size: int, shared: SharedFields, extension: _Extension | None
    ) -> Member:
        flag, kind, mode, uid, gid, mtime, target, prefix, device, _ = shared
        name = name.partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
        pax = _NO_RECORDS
        has_only_path = False
        if extension is not None:
            name = name if extension.name is None else extension.name
            target = target if extension.target is None else extension.target
            pax = extension.pax
            # Common: most members of a store with Python modules have long paths.
            has_only_path = len(pax) == 1 and b"path" in pax and extension.name is None
        if has_only_path:
            name = pax[b"path"]
        member = Member(
            name, kind, mode, uid, gid, size, mtime, target, (0, 0), self._input.position, pax
        )
        has_records = bool(pax) and not has_only_path
        if extension is not None and has_records:
            member = self._with_records(member, extension)
        # Tars that are older than the type flag of directories mark them by a trailing slash.
        if flag == b"\0" and member.name.endswith(b"/"):
            member = member._replace(kind=Kind.DIRECTORY)
        if has_records and self._is_sparse(member):
            return self._sparse_file(member)
        return member if member.kind == Kind.FILE else self._without_data(member, device)

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

    def _is_sparse(self, member: Member) -> bool:
        try:
            found = is_sparse(member.pax)
        except ValueError as error:
            self._fail(f"{shown(member.name)!r} may be a sparse file, but {error}")
        if found and member.kind != Kind.FILE:
            self._fail(f"{shown(member.name)!r} has the records of a sparse file, but is no file")
        return found

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

    def _without_data(self, member: Member, device: tuple[int, int]) -> Member:
        """Return `member` without its size: some programs set it although no data follows."""
        if member.kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
            return member._replace(size=0, device=device)
        return member._replace(size=0) if member.size else member

    def _check_end(self, has_marker: bool) -> None:
        """Remark an end-of-archive marker of less than two blocks; check that only zeros follow."""
        if not has_marker:
            self.remarks.append("it has no end-of-archive marker")
            return
        block = self._input.read(BLOCK)
        if not block:
            self.remarks.append("its end-of-archive marker has one block of zeros, not two")
        self._offset += BLOCK
        if 0 < len(block) < BLOCK:
            self._fail("it ends in the middle of its end-of-archive marker")
        while block:
            if block.count(0) != len(block):
                self._fail("there are non-zero bytes after its end-of-archive marker")
            self._offset += len(block)
            block = self._input.read_chunk()
