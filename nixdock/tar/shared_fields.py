"""The fields of a header that many members have in common: all but name, size and checksum."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK, ascii_sum, parse_number
from nixdock.tar.kinds import Kind

__all__ = ["EXTENSIONS", "SharedFields", "number_of", "parse_shared", "shared_bytes"]

EXTENSIONS: Final = frozenset({b"x", b"g", b"L", b"K"})
"""The type flags of extended headers, of which only the size counts."""

_FIELDS: Final = struct.Struct("8s8s8s12sc100s8s64x8s8s155s12s")
# Readers do not look at the version.
_USTAR: Final = b"ustar\0"
_GNU: Final = b"ustar  \0"
_NO_DEVICE: Final = bytes(8)
_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}


class SharedFields(NamedTuple):
    """The shared fields of a header.

    `flag` is the type flag, and `prefix` what goes before the name. `device` are the numbers of a
    device, which other members may have, too. `ascii_sum` is the sum of the bytes, or None if some
    are not ASCII.
    """

    flag: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    target: bytes
    prefix: bytes
    device: tuple[int, int]
    ascii_sum: int | None


def shared_bytes(block: bytes) -> bytes:
    """Return the bytes of the shared fields of a header."""
    return block[100:124] + block[136:148] + block[156:BLOCK]


# Most members are like many others here, and long targets are rare.
@lru_cache(maxsize=1024)
def parse_shared(data: bytes) -> SharedFields:
    """Parse what `shared_bytes` returns; raise ValueError if it is malformed or not supported."""
    mode, uid, gid, mtime, flag, target, magic, major, minor, prefix, tail = _FIELDS.unpack(data)
    total = ascii_sum(data) if data.isascii() else None
    # Go reads the numbers of every header, also those without a meaning. Headers before ustar have
    # no devices.
    numbers = number_of(mode, "mode"), number_of(uid, "uid"), number_of(gid, "gid")
    time = number_of(mtime, "mtime")
    device = (0, 0)
    if (major != _NO_DEVICE or minor != _NO_DEVICE) and (magic.startswith(_USTAR) or magic == _GNU):
        device = number_of(major, "device"), number_of(minor, "device")
    if flag in EXTENSIONS:
        return SharedFields(flag, flag, 0, 0, 0, 0, b"", b"", (0, 0), total)
    kind = _KINDS.get(flag)
    if kind is None:
        meaning = "a sparse file" if flag == b"S" else "an unknown kind of member"
        raise ValueError(f"{meaning} (type flag {shown(flag)!r}) is not supported")
    if not magic.startswith(_USTAR):
        if magic == _GNU and not _are_times(prefix[:24]):
            raise ValueError("it is not clear whether a prefix is part of the name")
        prefix = b""
    elif tail[-4:] == b"tar\0":
        # star keeps times after byte 131, and marks its headers at the end of the block.
        if not _are_times(prefix[131:]):
            raise ValueError("a time is not an octal number, or is too large")
        prefix = prefix[:131]
    return SharedFields(
        flag=flag,
        kind=kind,
        mode=numbers[0] & 0o7777,
        uid=numbers[1],
        gid=numbers[2],
        mtime=time,
        target=target.partition(b"\0")[0],
        prefix=prefix.partition(b"\0")[0],
        device=device,
        ascii_sum=total,
    )


def _are_times(fields: bytes) -> bool:
    """Tell whether two fields are times; GNU tar has them where others have a prefix."""
    return None not in {parse_number(fields[:12]), parse_number(fields[12:24])}


def number_of(field: bytes, name: str) -> int:
    """Return the number in a field; raise ValueError, which names it, if it is malformed."""
    number = parse_number(field)
    if number is None:
        raise ValueError(f"the {name} {shown(field)!r} is not an octal number, or is too large")
    return number
