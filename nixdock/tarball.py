"""Deterministic tar: headers, padding, and the entries of a file tree.

The bytes are those of CPython's `tarfile` in its PAX format, which is what dockerTools writes:
a ustar header of NUL-padded fields for each member, an extended header before it when a name, a
link target or a number does not fit, padding to records of 10240 bytes at the end. Headers that
fit, nearly all of them, are put together from precomputed parts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from nixdock.errors import PackError

__all__ = [
    "BLOCK",
    "RECORD",
    "Entry",
    "Headers",
    "Kind",
    "MemberMeta",
    "padded_size",
    "tar_size",
    "walk",
    "write_tar",
]

BLOCK: Final = 512
RECORD: Final = 10240
_BUFFER: Final = 1 << 20
_MAX_SIZE: Final = 8**11
_MAX_ID: Final = 8**7
_MAGIC: Final = b"ustar\x0000"
# Device numbers, the unused name prefix and the end of the block.
_UNUSED: Final = bytes(16 + 155 + 12)
# The checksum counts its own eight bytes as spaces.
_BLANK_CHECKSUM_SUM: Final = 8 * 0x20


class Kind:
    """The ustar type flags of the members that are written."""

    FILE: Final = b"0"
    SYMLINK: Final = b"2"
    DIRECTORY: Final = b"5"
    FIFO: Final = b"6"
    PAX: Final = b"x"


class Entry(NamedTuple):
    """One member to be: its name in the archive and, for a file, where its bytes are.

    Names and targets are bytes, as in the file system. A directory's name ends in a slash.
    """

    name: bytes
    kind: bytes
    mode: int
    size: int = 0
    target: bytes = b""
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class MemberMeta:
    """What every member of a layer shares: its time, in seconds, and its owner."""

    mtime: int = 1
    uid: int = 0
    gid: int = 0
    uname: str = "root"
    gname: str = "root"


class Headers:
    """Make the headers of members that share `meta`."""

    def __init__(self, meta: MemberMeta) -> None:
        self._meta = meta
        self._shared_fits = (
            0 <= meta.mtime < _MAX_SIZE
            and 0 <= meta.uid < _MAX_ID
            and 0 <= meta.gid < _MAX_ID
            and all(len(name) <= 32 and name.isascii() for name in (meta.uname, meta.gname))
        )
        self._time = b"%011o\0" % meta.mtime if self._shared_fits else b""
        self._owner = _text(meta.uname, 32) + _text(meta.gname, 32)
        self._tail = _MAGIC + self._owner + _UNUSED
        self._constant_sum = sum(self._tail) + sum(self._time) + _BLANK_CHECKSUM_SUM
        self._numbers: dict[int, tuple[bytes, int]] = {}

    def length(self, entry: Entry) -> int:
        """Return the length of `encode(entry)` in bytes."""
        return BLOCK if self._fits(entry) else len(self.encode(entry))

    def encode(self, entry: Entry) -> bytes:
        """Return the header of `entry`, after an extended header where one is needed."""
        if not self._fits(entry):
            return self._extended(entry)
        name, kind, mode, size, target, _ = entry
        numbers, numbers_sum = self._numbers.get(mode) or self._encode_numbers(mode)
        digits = b"%011o\0" % size
        checksum = numbers_sum + sum(name) + sum(digits) + kind[0] + sum(target)
        return b"".join(
            (
                name.ljust(100, b"\0"),
                numbers,
                digits,
                self._time,
                b"%06o\0 " % (checksum + self._constant_sum),
                kind,
                target.ljust(100, b"\0"),
                self._tail,
            )
        )

    def _fits(self, entry: Entry) -> bool:
        return (
            len(entry[0]) <= 100
            and len(entry[4]) <= 100
            and entry[3] < _MAX_SIZE
            and entry[0].isascii()
            and entry[4].isascii()
            and self._shared_fits
        )

    def _encode_numbers(self, mode: int) -> tuple[bytes, int]:
        numbers = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, self._meta.uid, self._meta.gid)
        self._numbers[mode] = result = (numbers, sum(numbers))
        return result

    def _extended(self, entry: Entry) -> bytes:
        meta = self._meta
        name, target = _decode(entry.name), _decode(entry.target)
        texts = (
            ("path", name, 100),
            ("linkpath", target, 100),
            ("uname", meta.uname, 32),
            ("gname", meta.gname, 32),
        )
        numbers = (
            ("uid", meta.uid, _MAX_ID),
            ("gid", meta.gid, _MAX_ID),
            ("size", entry.size, _MAX_SIZE),
            ("mtime", meta.mtime, _MAX_SIZE),
        )
        records = [(key, value) for key, value, n in texts if len(value) > n or not value.isascii()]
        records += [(key, str(value)) for key, value, limit in numbers if not 0 <= value < limit]
        uid, gid, size, mtime = (value if 0 <= value < limit else 0 for _, value, limit in numbers)
        header = _ustar_header(
            before=_text(name, 100) + b"%07o\0%07o\0%07o\0" % (entry.mode & 0o7777, uid, gid),
            size=size,
            mtime=mtime,
            after=entry.kind + _text(target, 100) + self._tail,
        )
        return _pax_member(records) + header


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _text(value: str, width: int) -> bytes:
    return value.encode("ascii", "replace")[:width].ljust(width, b"\0")


def _ustar_header(*, before: bytes, size: int, mtime: int, after: bytes) -> bytes:
    before += b"%011o\0%011o\0" % (size, mtime)
    return before + b"%06o\0 " % (sum(before) + sum(after) + _BLANK_CHECKSUM_SUM) + after


def _pax_member(records: Sequence[tuple[str, str]]) -> bytes:
    # Bytes that are no UTF-8 can't be told apart from text without this mark.
    binary = any("\udc80" <= char <= "\udcff" for _, value in records for char in value)
    payload = b"21 hdrcharset=BINARY\n" if binary else b""
    for key, value in records:
        body = b" %s=%s\n" % (key.encode(), value.encode("utf-8", "surrogateescape"))
        length = len(body)
        # A record's length counts its own digits.
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        payload += b"%d%s" % (length, body)
    header = _ustar_header(
        before=_text("././@PaxHeader", 100) + b"0000000\0" * 3,
        size=len(payload),
        mtime=0,
        after=Kind.PAX + bytes(100) + _MAGIC + bytes(64) + _UNUSED,
    )
    return header + payload + bytes(-len(payload) % BLOCK)


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, as members named `name` and below it.

    Depth first, a directory before its contents, siblings in the order of their names as text.
    Symbolic links are entries of their own. Raise PackError for what a layer can't hold.
    """
    stack = [(source, name)]
    while stack:
        path, member = stack.pop()
        try:
            info = os.lstat(path)
            mode = info.st_mode
            if stat.S_ISREG(mode):
                yield Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
            elif stat.S_ISDIR(mode):
                names = os.listdir(path)
                if len(names) > 1:
                    names.sort(key=_decode, reverse=True)
                slashed = member if member.endswith(b"/") else member + b"/"
                stack += [(b"%s/%s" % (path, n), slashed + n) for n in names]
                if any(n.startswith(b".wh.") for n in names):
                    _refuse_whiteout(path, names)
                yield Entry(slashed, Kind.DIRECTORY, mode & 0o7777)
            elif stat.S_ISLNK(mode):
                yield Entry(member, Kind.SYMLINK, mode & 0o7777, 0, os.readlink(path))
            elif stat.S_ISFIFO(mode):
                yield Entry(member, Kind.FIFO, mode & 0o7777)
            else:
                raise PackError(f"{_shown(path)} is a device or a socket, which a layer can't hold")
        except FileNotFoundError:
            raise PackError(f"{_shown(path)} vanished while its tree was read") from None
        except OSError as error:
            raise PackError(f"can't read {_shown(path)}: {error.strerror}") from None


def _refuse_whiteout(directory: bytes, names: list[bytes]) -> None:
    name = next(n for n in names if n.startswith(b".wh."))
    raise PackError(
        f"{_shown(directory + b'/' + name)} has the name of a whiteout: in a layer it would"
        " delete a file instead of being one; rename it or leave its store path out"
    )


def tar_size(entries: Iterable[Entry], headers: Headers) -> int:
    """Return how many bytes `write_tar` writes for `entries`."""
    return padded_size(
        sum(headers.length(entry) + entry.size + -entry.size % BLOCK for entry in entries)
    )


def padded_size(size: int) -> int:
    """Return the size of an archive whose members take `size` bytes."""
    return size + 2 * BLOCK + -(size + 2 * BLOCK) % RECORD


def write_tar(
    entries: Iterable[Entry], headers: Headers, write: Callable[[memoryview], object]
) -> int:
    """Write a whole archive of `entries` and return its size in bytes.

    `write` gets a view of a buffer that is used again as soon as it returns. Raise PackError
    when a file is not, to the byte, what its entry says.
    """
    buffer = memoryview(bytearray(_BUFFER))
    at = 0
    total = 0
    for entry in entries:
        header = headers.encode(entry)
        size = entry.size
        # Room for the header and one byte more than the file: reading that byte tells that the
        # file grew without another system call.
        if at + len(header) + size + BLOCK > _BUFFER:
            write(buffer[:at])
            total += at
            at = 0
            if len(header) + size + BLOCK > _BUFFER:
                total += _write_large(entry, header, buffer, write)
                continue
        end = at + len(header)
        buffer[at:end] = header
        at = end
        if size:
            _read_file(entry, buffer[at : at + size + 1])
            at += size
            padding = -size % BLOCK
            buffer[at : at + padding] = _ZEROS[:padding]
            at += padding
        elif entry.kind == Kind.FILE:
            _read_file(entry, buffer[at : at + 1])
    write(buffer[:at])
    total += at
    size = padded_size(total)
    write(memoryview(_ZEROS)[: size - total])
    return size


_ZEROS: Final = bytes(RECORD + 2 * BLOCK)


def _read_file(entry: Entry, view: memoryview) -> None:
    """Fill `view`, all but its last byte, with the whole file."""
    try:
        descriptor = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            count = os.readv(descriptor, [view])
            while 0 < count < entry.size:
                more = os.readv(descriptor, [view[count:]])
                if not more:
                    break
                count += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _read_error(entry, error) from None
    if count != entry.size:
        raise _size_error(entry, grew=count > entry.size)


def _write_large(
    entry: Entry, header: bytes, buffer: memoryview, write: Callable[[memoryview], object]
) -> int:
    write(memoryview(header))
    left = entry.size
    try:
        descriptor = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while left:
                count = os.readv(descriptor, [buffer[: min(left, _BUFFER)]])
                if not count:
                    raise _size_error(entry, grew=False)
                write(buffer[:count])
                left -= count
            if os.readv(descriptor, [buffer[:1]]):
                raise _size_error(entry, grew=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _read_error(entry, error) from None
    padding = -entry.size % BLOCK
    write(memoryview(_ZEROS)[:padding])
    return len(header) + entry.size + padding


def _read_error(entry: Entry, error: OSError) -> PackError:
    if isinstance(error, FileNotFoundError):
        return PackError(f"{_shown(entry.source)} vanished while its layer was packed")
    return PackError(f"can't read {_shown(entry.source)}: {error.strerror}")


def _size_error(entry: Entry, *, grew: bool) -> PackError:
    change = "grew" if grew else "shrank"
    return PackError(
        f"{_shown(entry.source)} {change} while its layer was packed: it had {entry.size} bytes;"
        " nothing may write to what is being packed"
    )


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
