"""Deterministic tar: headers, padding, and the entries of a file tree.

The bytes are those of CPython's `tarfile` in its PAX format, which is what dockerTools writes:
a ustar header of NUL-padded fields for each member, an extended header before it when a name, a
link target or a number does not fit, padding to records of 10240 bytes at the end. Headers that
fit, nearly all of them, are put together from precomputed parts.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from typing import Final, NamedTuple

from nixdock.errors import PackError

__all__ = [
    "BLOCK",
    "RECORD",
    "RING",
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
# Enough for two threads that each have one buffer in hand and one waiting.
RING: Final = 6
_MAX_SIZE: Final = 8**11
_MAX_ID: Final = 8**7
_MAGIC: Final = b"ustar\x0000"
# Device numbers, the unused name prefix and the end of the block.
_UNUSED: Final = bytes(16 + 155 + 12)
# The checksum counts its own eight bytes as spaces, and leaves the last one so.
_BLANK_CHECKSUM: Final = b"        "
_CHECKSUM: Final = 148
_TYPE: Final = 0o170000
# What was a file when its tree was walked may be a link or a FIFO by now: neither is waited for.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PATH: Final = b"path"

_Constants = tuple[bytes, bytes, int]


class Kind:
    """The ustar type flags of the members that are written."""

    FILE: Final = b"0"
    SYMLINK: Final = b"2"
    DIRECTORY: Final = b"5"
    FIFO: Final = b"6"
    PAX: Final = b"x"


class Entry(NamedTuple):
    """One member to be: its name in the archive and, for a file or directory, where it lies.

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
        self._tail = _MAGIC + _text(meta.uname, 32) + _text(meta.gname, 32) + _UNUSED
        self._constants: dict[tuple[int, bytes], _Constants] = {}

    def member_size(self, entry: Entry) -> int:
        """Return how many bytes `entry` takes in an archive: header, file and padding."""
        name, _, _, size, _, _ = entry
        if not self._fits(entry):
            header = len(self._extended(entry))
        elif len(name) <= 100:
            header = BLOCK
        else:
            header = 2 * BLOCK + -(-_pax_length(_PATH, len(name)) // BLOCK) * BLOCK
        return header + size + -size % BLOCK

    def encode(self, entry: Entry) -> bytes:
        """Return the header of `entry`, after an extended header where one is needed."""
        if not self._fits(entry):
            return self._extended(entry)
        name, kind, mode, size, target, _ = entry
        numbers, rest, constant_sum = (
            self._make_constants(mode, kind, target)
            if target
            else self._constants.get((mode, kind)) or self._add_constants(mode, kind)
        )
        extension = b""
        if len(name) > 100:
            # A long path and nothing else: most members of a store full of Python modules.
            before, after = _long_path(len(name))
            extension = before + name + after
            name = name[:100]
        start = name.ljust(100, b"\0")
        digits = b"%011o\0" % size
        # These are ASCII, so the sum of their bytes stays below Adler-32's modulus, and its lower
        # half is that sum plus one: much faster than adding up in Python.
        checksum = constant_sum + (zlib.adler32(start + digits) & 0xFFFF)
        return b"%b%b%b%b%b%06o\0 %b" % (
            extension,
            start,
            numbers,
            digits,
            self._time,
            checksum,
            rest,
        )

    def _fits(self, entry: Entry) -> bool:
        """Tell whether nothing but, perhaps, a long ASCII path needs an extended header."""
        name, _, _, size, target, _ = entry
        return (
            name.isascii()
            and size < _MAX_SIZE
            and self._shared_fits
            and (not target or (len(target) <= 100 and target.isascii()))
        )

    def _add_constants(self, mode: int, kind: bytes) -> _Constants:
        self._constants[mode, kind] = constants = self._make_constants(mode, kind, b"")
        return constants

    def _make_constants(self, mode: int, kind: bytes, target: bytes) -> _Constants:
        """Put together what stands between name and size, and behind the checksum."""
        numbers = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, self._meta.uid, self._meta.gid)
        rest = kind + target.ljust(100, b"\0") + self._tail
        constant = numbers + self._time + _BLANK_CHECKSUM + rest
        # The sum that `encode` adds to this one is too large by one.
        return numbers, rest, sum(constant) - 1

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
        header = (
            _text(name, 100)
            + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (entry.mode & 0o7777, uid, gid, size, mtime)
            + _BLANK_CHECKSUM
            + entry.kind
            + _text(target, 100)
            + self._tail
        )
        encoded = [
            _pax_record(key.encode(), value.encode("utf-8", "surrogateescape"))
            for key, value in records
        ]
        # Bytes that are no UTF-8 can't be told apart from text without this mark.
        if any("\udc80" <= char <= "\udcff" for _, value in records for char in value):
            encoded.insert(0, b"21 hdrcharset=BINARY\n")
        return _pax_member(encoded) + _with_checksum(header)


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _text(value: str, width: int) -> bytes:
    return value.encode("ascii", "replace")[:width].ljust(width, b"\0")


def _with_checksum(header: bytes) -> bytes:
    return b"%b%06o\0%b" % (header[:_CHECKSUM], sum(header), header[_CHECKSUM + 7 :])


def _pax_length(key: bytes, size: int) -> int:
    """Return the length of a record with a value of `size` bytes: it counts its own digits."""
    length = len(key) + size + len(b" =\n")
    digits = len(str(length))
    return length + digits + (len(str(length + digits)) > digits)


def _pax_record(key: bytes, value: bytes) -> bytes:
    return b"%d %b=%b\n" % (_pax_length(key, len(value)), key, value)


@lru_cache(maxsize=4096)
def _long_path(size: int) -> tuple[bytes, bytes]:
    """Return what stands before and behind a path of `size` bytes in its extended header."""
    member = _pax_member([_pax_record(_PATH, bytes(size))])
    at = member.index(b" path=") + len(b" path=")
    return member[:at], member[at + size :]


def _pax_member(records: Iterable[bytes]) -> bytes:
    payload = b"".join(records)
    header = _with_checksum(
        _text("././@PaxHeader", 100)
        + b"0000000\0" * 3
        + b"%011o\0%011o\0" % (len(payload), 0)
        + _BLANK_CHECKSUM
        + Kind.PAX
        + bytes(100)
        + _MAGIC
        + bytes(64)
        + _UNUSED
    )
    return header + payload + bytes(-len(payload) % BLOCK)


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, as members named `name` and below it.

    Depth first, a directory before its contents, siblings in the order of their names as text.
    Symbolic links are entries of their own. Raise PackError for what a layer can't hold.
    """
    # The path at which a system call fails is in what it raises.
    try:
        root = _entry(source, name, os.lstat(source))
        yield root
        pending = [iter(_children(root))] if root.kind == Kind.DIRECTORY else []
        while pending:
            for entry in pending[-1]:
                yield entry
                if entry[1] == Kind.DIRECTORY:
                    pending.append(iter(_children(entry)))
                    break
            else:
                pending.pop()
    except FileNotFoundError as error:
        raise PackError(f"{_shown(error.filename)} vanished while its tree was read") from None
    except OSError as error:
        raise PackError(f"can't read {_shown(error.filename)}: {error.strerror}") from None


def _children(directory: Entry) -> list[Entry]:
    with os.scandir(directory.source) as scan:
        found = {child.name: child for child in scan}
    joined = b"/".join(found)
    if b".wh." in joined:
        _refuse_whiteouts(directory.source, found)
    names = sorted(found) if joined.isascii() else sorted(found, key=_decode)
    entries = []
    prefix = directory.name
    in_place = prefix == directory.source + b"/"
    for name in names:
        child = found[name]
        info = child.stat(follow_symlinks=False)
        mode = info.st_mode
        # Nearly all entries are files: no call for them.
        if mode & _TYPE == stat.S_IFREG:
            path = child.path
            # A store at its own place has the same names in the archive: one object for both.
            member = path if in_place else prefix + name
            entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
        else:
            entry = _entry(child.path, prefix + name, info)
        entries.append(entry)
    return entries


def _entry(path: bytes, member: bytes, info: os.stat_result) -> Entry:
    mode = info.st_mode
    kind = mode & _TYPE
    if kind == stat.S_IFREG:
        return Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
    if kind == stat.S_IFLNK:
        return Entry(member, Kind.SYMLINK, mode & 0o7777, 0, os.readlink(path))
    if kind == stat.S_IFDIR:
        slashed = member if member.endswith(b"/") else member + b"/"
        return Entry(slashed, Kind.DIRECTORY, mode & 0o7777, 0, b"", path)
    if kind == stat.S_IFIFO:
        return Entry(member, Kind.FIFO, mode & 0o7777)
    raise PackError(f"{_shown(path)} is a device or a socket, which a layer can't hold")


def _refuse_whiteouts(directory: bytes, names: Iterable[bytes]) -> None:
    for name in sorted(names):
        if name.startswith(b".wh."):
            raise PackError(
                f"{_shown(directory + b'/' + name)} has the name of a whiteout: in a layer it would"
                " delete a file instead of being one; rename it or leave its store path out"
            )


def tar_size(entries: Iterable[Entry], headers: Headers) -> int:
    """Return how many bytes `write_tar` writes for `entries`."""
    return padded_size(sum(map(headers.member_size, entries)))


def padded_size(size: int) -> int:
    """Return the size of an archive whose members take `size` bytes."""
    return size + 2 * BLOCK + -(size + 2 * BLOCK) % RECORD


class _Buffers(threading.local):
    """A ring of buffers for each thread, for all its archives: new memory costs more than a read.

    The ring goes on from archive to archive, for the last buffers of one may still be in use.
    """

    def __init__(self) -> None:
        self.ring = cycle([memoryview(bytearray(_BUFFER)) for _ in range(RING)])


_BUFFERS: Final = _Buffers()


def write_tar(
    entries: Iterable[Entry], headers: Headers, write: Callable[[memoryview], object]
) -> int:
    """Write a whole archive of `entries` and return its size in bytes.

    `write` gets views of buffers that are used again, but not before RING - 2 further calls.
    Raise PackError when a file is not, to the byte, what its entry says.
    """
    ring = _BUFFERS.ring
    buffer = next(ring)
    at = 0
    total = 0
    for entry in entries:
        header = headers.encode(entry)
        size = entry.size
        # One byte more than the file: reading it tells that the file grew without another system
        # call. There is always room for it, and for the padding, within a block.
        if at + len(header) + size + BLOCK > _BUFFER:
            if at:
                write(buffer[:at])
                total += at
                buffer = next(ring)
                at = 0
            if len(header) + size + BLOCK > _BUFFER:
                for filled in _fill(entry, header, buffer, ring):
                    write(filled)
                    total += len(filled)
                buffer = next(ring)
                continue
        end = at + len(header)
        buffer[at:end] = header
        at = end
        if entry.kind == Kind.FILE:
            _read_file(entry, buffer[at : at + size + 1])
            at += size
            if padding := -size % BLOCK:
                buffer[at : at + padding] = _ZEROS[:padding]
                at += padding
    if at:
        write(buffer[:at])
    total += at
    size = padded_size(total)
    write(memoryview(_ZEROS)[: size - total])
    return size


_ZEROS: Final = bytes(RECORD + 2 * BLOCK)


def _read_file(entry: Entry, view: memoryview) -> None:
    """Fill `view`, all but its last byte, with the whole file."""
    try:
        descriptor = os.open(entry.source, _OPEN)
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


def _fill(
    entry: Entry, header: bytes, buffer: memoryview, ring: Iterator[memoryview]
) -> Iterator[memoryview]:
    """Yield buffers filled with `header`, a file that does not fit into one, and its padding."""
    at = len(header)
    buffer[:at] = header
    left = entry.size
    try:
        descriptor = os.open(entry.source, _OPEN)
        try:
            while left:
                if at == _BUFFER:
                    yield buffer
                    buffer, at = next(ring), 0
                count = os.readv(descriptor, [buffer[at : min(at + left, _BUFFER)]])
                if not count:
                    raise _size_error(entry, grew=False)
                left -= count
                at += count
            if os.readv(descriptor, [bytearray(1)]):
                raise _size_error(entry, grew=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _read_error(entry, error) from None
    # Buffers and headers are whole blocks, so the padding is within the last buffer.
    padding = -entry.size % BLOCK
    buffer[at : at + padding] = _ZEROS[:padding]
    yield buffer[: at + padding]


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
