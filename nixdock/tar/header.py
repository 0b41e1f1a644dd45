"""Headers of tar members, with the same bytes as those of CPython's `tarfile` in its PAX format.

dockerTools writes such headers: a ustar header of NUL-padded fields for each member, preceded by
an extended header if a name, a link target or a number does not fit. For speed, a header that
needs no extended header, or one with a long path or target, is assembled from precomputed parts.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from nixdock.tar.extended_header import (
    WIDTH,
    extended_header,
    extension,
    extension_size,
    pax_record,
)
from nixdock.tar.fields import (
    BLANK_CHECKSUM,
    BLOCK,
    USTAR,
    XATTR_PREFIX,
    ascii_sum,
    text_field,
    with_checksum,
)
from nixdock.tar.kinds import Kind

__all__ = ["Attributes", "Content", "Entry", "Headers", "MemberMeta", "name_text", "owner_name"]

_SIZE_LIMIT: Final = 8**11
_ID_LIMIT: Final = 8**7
# The name prefix, which is not used, and the end of the block.
_END: Final = bytes(155 + 12)
# The same after the device numbers of a member that is not a device.
_UNUSED: Final = bytes(16) + _END
_NO_TARGET: Final = bytes(WIDTH)

_Constants = tuple[bytes, int]


class Attributes(Struct, frozen=True):
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


class MemberMeta(Struct, frozen=True):
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
        self._tail = USTAR + text_field(meta.uname, 32) + text_field(meta.gname, 32) + _UNUSED
        self._constants: dict[tuple[int, bytes], _Constants] = {}

    @property
    def template(self) -> bytes | None:
        """The header of a file without a name and contents; None if others need extended headers.

        Only a member's name, kind, mode, size and target are missing from it, and its checksum.
        """
        return self.encode(Entry(b"", Kind.FILE, 0)) if self._shared_fits else None

    def member_size(self, entry: Entry) -> int:
        """Return the size in bytes of `entry` in an archive: headers, contents and padding."""
        name, _, _, size, target, _, _, _ = entry
        if not self._fits(entry):
            header = len(self._extended(entry))
        elif len(name) <= WIDTH and len(target) <= WIDTH:
            header = BLOCK
        else:
            header = BLOCK + extension_size(name, target)
        return header + size + -size % BLOCK

    def encode(self, entry: Entry) -> bytes:
        """Return the header of `entry`, preceded by an extended header if it needs one."""
        if not self._fits(entry):
            return self._extended(entry)
        name, kind, mode, size, target, _, _, _ = entry
        numbers, constant_sum = self._constants.get((mode, kind)) or self._add_constants(mode, kind)
        before = b""
        if len(name) > WIDTH or len(target) > WIDTH:
            # Common: most members of a store with Python modules have long paths, and most links
            # between store paths have long targets.
            before = extension(name, target)
            name = name[:WIDTH]
        start = name.ljust(WIDTH, b"\0")
        digits = b"%011o\0" % size
        link = target[:WIDTH].ljust(WIDTH, b"\0") if target else _NO_TARGET
        checksum = constant_sum + ascii_sum(start + digits + link)
        return b"%b%b%b%b%b%06o\0 %b%b%b" % (
            before,
            start,
            numbers,
            digits,
            self._time,
            checksum,
            kind,
            link,
            self._tail,
        )

    def _fits(self, entry: Entry) -> bool:
        """Return whether no field except path and target needs an extended header."""
        name, _, _, size, target, _, attributes, _ = entry
        return (
            attributes is None
            and name.isascii()
            and size < _SIZE_LIMIT
            and self._shared_fits
            and target.isascii()
        )

    def _add_constants(self, mode: int, kind: bytes) -> _Constants:
        """Return the fields between name and size, and their sum with the other constant ones."""
        numbers = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, self._meta.uid, self._meta.gid)
        constants = numbers, sum(numbers + self._time + BLANK_CHECKSUM + kind + self._tail)
        self._constants[mode, kind] = constants
        return constants

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
            text_field(name, 100)
            + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (entry.mode & 0o7777, uid, gid, size, mtime)
            + BLANK_CHECKSUM
            + entry.kind
            + text_field(target, 100)
            + USTAR
            + text_field(meta.uname, 32)
            + text_field(meta.gname, 32)
            + _device(entry.kind, attributes.device)
            + _END
        )
        encoded = [
            pax_record(key.encode(), value.encode("utf-8", "surrogateescape"))
            for key, value in records
        ]
        # This record marks the others as bytes, because some are not UTF-8.
        if any("\udc80" <= char <= "\udcff" for _, value in records for char in value):
            encoded.insert(0, b"21 hdrcharset=BINARY\n")
        # The values of extended attributes are bytes with or without that record.
        encoded += [pax_record(XATTR_PREFIX + key, value) for key, value in attributes.xattrs]
        return (extended_header(encoded) if encoded else b"") + with_checksum(header)


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
