"""Headers of tar members, with the same bytes as those of CPython's `tarfile` in its PAX format.

dockerTools writes such headers: a ustar header of NUL-padded fields for each member, preceded by
an extended header if a name, a link target or a number does not fit. For speed, a header that
needs no extended header, or one with a long path alone, is assembled from precomputed parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from nixdock.tar.fields import BLOCK, CHECKSUM, XATTR_PREFIX, ascii_sum
from nixdock.tar.kinds import Kind

__all__ = ["Attributes", "Content", "Entry", "Headers", "MemberMeta", "name_text", "owner_name"]

_SIZE_LIMIT: Final = 8**11
_ID_LIMIT: Final = 8**7
_MAGIC: Final = b"ustar\x0000"
# The name prefix, which is not used, and the end of the block.
_END: Final = bytes(155 + 12)
# The same after the device numbers of a member that is not a device.
_UNUSED: Final = bytes(16) + _END
# The checksum counts its own eight bytes as spaces; the last one remains a space.
_BLANK_CHECKSUM: Final = b"        "
_PATH: Final = b"path"

_Constants = tuple[bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one member that differ from those of its layer.

    None means the layer's value. `mtime` is in seconds, `device` is the major and minor number,
    and `xattrs` are the names and values of extended attributes.
    """

    uid: int | None = None
    gid: int | None = None
    uname: str | None = None
    gname: str | None = None
    mtime: int | None = None
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def owned_by(
        cls,
        uid: int,
        gid: int,
        device: tuple[int, int] = (0, 0),
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Attributes:
        """Return the attributes of a file with this owner, whose names are empty unless root."""
        return cls(uid, gid, owner_name(uid), owner_name(gid), device=device, xattrs=xattrs)


class Content(Protocol):
    """The contents of a file that is not on disk."""

    def read(self, most: int, /) -> memoryview:
        """Return the next bytes, at most so many, which never change; none at the end."""


class Entry(NamedTuple):
    """A member to write: `name` is its name in the archive, `source` the file or directory on disk.

    Names and targets are bytes, as in the file system. The name of a directory ends with a slash.
    A file may have `content` in place of a source: it can be read once, before the next entry is
    asked for.
    """

    name: bytes
    kind: bytes
    mode: int
    size: int = 0
    target: bytes = b""
    source: bytes = b""
    attributes: Attributes | None = None
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class MemberMeta:
    """The mtime in seconds and the owner that all members of a layer share."""

    mtime: int = 1
    uid: int = 0
    gid: int = 0
    uname: str = "root"
    gname: str = "root"


class Headers:
    """The headers of members that share `meta`."""

    def __init__(self, meta: MemberMeta) -> None:
        self._meta = meta
        self._shared_fits = (
            0 <= meta.mtime < _SIZE_LIMIT
            and 0 <= meta.uid < _ID_LIMIT
            and 0 <= meta.gid < _ID_LIMIT
            and all(len(name) <= 32 and name.isascii() for name in (meta.uname, meta.gname))
        )
        self._time = b"%011o\0" % meta.mtime if self._shared_fits else b""
        self._tail = _MAGIC + _text(meta.uname, 32) + _text(meta.gname, 32) + _UNUSED
        self._constants: dict[tuple[int, bytes], _Constants] = {}

    @property
    def template(self) -> bytes | None:
        """The header of a file without a name and contents; None if others need extended headers.

        Only a member's name, kind, mode, size and target are missing from it, and its checksum.
        """
        return self.encode(Entry(b"", Kind.FILE, 0)) if self._shared_fits else None

    def member_size(self, entry: Entry) -> int:
        """Return the size in bytes of `entry` in an archive: headers, contents and padding."""
        name, _, _, size, _, _, _, _ = entry
        if not self._fits(entry):
            header = len(self._extended(entry))
        elif len(name) <= 100:
            header = BLOCK
        else:
            header = 2 * BLOCK + -(-_pax_length(_PATH, len(name)) // BLOCK) * BLOCK
        return header + size + -size % BLOCK

    def encode(self, entry: Entry) -> bytes:
        """Return the header of `entry`, preceded by an extended header if it needs one."""
        if not self._fits(entry):
            return self._extended(entry)
        name, kind, mode, size, target, _, _, _ = entry
        numbers, rest, constant_sum = (
            self._make_constants(mode, kind, target)
            if target
            else self._constants.get((mode, kind)) or self._add_constants(mode, kind)
        )
        extension = b""
        if len(name) > 100:
            # Common: most members of a store with Python modules have long paths.
            before, after = _long_path(len(name))
            extension = before + name + after
            name = name[:100]
        start = name.ljust(100, b"\0")
        digits = b"%011o\0" % size
        checksum = constant_sum + ascii_sum(start + digits)
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
        """Return whether no field except the path, if it is ASCII, needs an extended header."""
        name, _, _, size, target, _, attributes, _ = entry
        return (
            attributes is None
            and name.isascii()
            and size < _SIZE_LIMIT
            and self._shared_fits
            and (not target or (len(target) <= 100 and target.isascii()))
        )

    def _add_constants(self, mode: int, kind: bytes) -> _Constants:
        self._constants[mode, kind] = constants = self._make_constants(mode, kind, b"")
        return constants

    def _make_constants(self, mode: int, kind: bytes, target: bytes) -> _Constants:
        """Return the fields between name and size, those after the checksum, and their sum."""
        numbers = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, self._meta.uid, self._meta.gid)
        rest = kind + target.ljust(100, b"\0") + self._tail
        constant = numbers + self._time + _BLANK_CHECKSUM + rest
        return numbers, rest, sum(constant)

    def _extended(self, entry: Entry) -> bytes:
        """Return the header of any entry, preceded by an extended header if it needs one."""
        attributes = entry.attributes or _NO_ATTRIBUTES
        meta = _with_attributes(self._meta, attributes)
        name, target = name_text(entry.name), name_text(entry.target)
        texts = (
            ("path", name, 100),
            ("linkpath", target, 100),
            ("uname", meta.uname, 32),
            ("gname", meta.gname, 32),
        )
        numbers = (
            ("uid", meta.uid, _ID_LIMIT),
            ("gid", meta.gid, _ID_LIMIT),
            ("size", entry.size, _SIZE_LIMIT),
            ("mtime", meta.mtime, _SIZE_LIMIT),
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
            + _MAGIC
            + _text(meta.uname, 32)
            + _text(meta.gname, 32)
            + _device(entry.kind, attributes.device)
            + _END
        )
        encoded = [
            _pax_record(key.encode(), value.encode("utf-8", "surrogateescape"))
            for key, value in records
        ]
        # This record marks the others as bytes, because some are not UTF-8.
        if any("\udc80" <= char <= "\udcff" for _, value in records for char in value):
            encoded.insert(0, b"21 hdrcharset=BINARY\n")
        # The values of extended attributes are bytes with or without that record.
        encoded += [_pax_record(XATTR_PREFIX + key, value) for key, value in attributes.xattrs]
        return (_pax_member(encoded) if encoded else b"") + _with_checksum(header)


_NO_ATTRIBUTES: Final = Attributes()


def _with_attributes(meta: MemberMeta, attributes: Attributes) -> MemberMeta:
    if attributes is _NO_ATTRIBUTES:
        return meta
    return MemberMeta(
        mtime=meta.mtime if attributes.mtime is None else attributes.mtime,
        uid=meta.uid if attributes.uid is None else attributes.uid,
        gid=meta.gid if attributes.gid is None else attributes.gid,
        uname=meta.uname if attributes.uname is None else attributes.uname,
        gname=meta.gname if attributes.gname is None else attributes.gname,
    )


def _device(kind: bytes, device: tuple[int, int]) -> bytes:
    if kind not in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
        return bytes(16)
    return b"%07o\0%07o\0" % device


def owner_name(number: int) -> str:
    """Return the name of a user or group: "root" for 0, else empty, as names differ by system."""
    return "root" if number == 0 else ""


def name_text(name: bytes) -> str:
    """Decode a file name as `os.fsdecode` does in a UTF-8 locale."""
    return name.decode("utf-8", "surrogateescape")


def _text(value: str, width: int) -> bytes:
    return value.encode("ascii", "replace")[:width].ljust(width, b"\0")


def _with_checksum(header: bytes) -> bytes:
    return b"%b%06o\0%b" % (header[: CHECKSUM.start], sum(header), header[CHECKSUM.stop - 1 :])


def _pax_length(key: bytes, size: int) -> int:
    """Return the length of a record with a value of `size` bytes; it includes its own digits."""
    length = len(key) + size + len(b" =\n")
    digits = len(str(length))
    return length + digits + (len(str(length + digits)) > digits)


def _pax_record(key: bytes, value: bytes) -> bytes:
    return b"%d %b=%b\n" % (_pax_length(key, len(value)), key, value)


@lru_cache(maxsize=4096)
def _long_path(size: int) -> tuple[bytes, bytes]:
    """Return the bytes before and after a path of `size` bytes in its extended header."""
    member = _pax_member([_pax_record(_PATH, bytes(size))])
    at = member.index(b" path=") + len(b" path=")
    return member[:at], member[at + size :]


def _pax_member(records: Iterable[bytes]) -> bytes:
    """Return an extended header with `records`."""
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
