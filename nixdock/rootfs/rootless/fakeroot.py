"""fakeroot's memory: the owners, modes and devices that files have for those who run under it.

It is a file of one line for each file whose owner, mode or kind is not what the disk says:
`dev=HEX,ino=DECIMAL,mode=OCTAL,uid=DECIMAL,gid=DECIMAL,nlink=DECIMAL,rdev=DECIMAL`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from nixdock.errors import ToolError

__all__ = ["FakeFile", "Inode", "fakeroot_program", "format_state", "parse_state"]

_LINE: Final = re.compile(
    r"dev=([0-9a-f]+),ino=(\d+),mode=([0-7]+),uid=(\d+),gid=(\d+),nlink=\d+,rdev=(\d+)", re.ASCII
)


class Inode(NamedTuple):
    """What tells a file from all others: its device and inode number."""

    device: int
    number: int


@dataclass(frozen=True, slots=True)
class FakeFile:
    """What a file is under fakeroot; `mode` holds its kind as well.

    fakeroot's memory does not have `xattrs`, so these say nothing about whether two are equal.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = field(default=(), compare=False)


def parse_state(text: str) -> dict[Inode, FakeFile]:
    """Read what `fakeroot -s` has saved; raise ToolError for what it would not write."""
    state = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ToolError(f"fakeroot has saved {line!r}, which is not understood")
        device, number, mode, uid, gid, rdev = match.groups()
        inode = Inode(int(device, 16), int(number))
        state[inode] = FakeFile(int(mode, 8), int(uid), int(gid), int(rdev))
    return state


def format_state(files: Iterable[tuple[Inode, FakeFile]]) -> str:
    """Return what `fakeroot -i` reads."""
    return "".join(
        f"dev={inode.device:x},ino={inode.number},mode={file.mode:o},uid={file.uid},"
        f"gid={file.gid},nlink=1,rdev={file.rdev}\n"
        for inode, file in files
    )


def fakeroot_program(environment: Mapping[str, str]) -> str:
    """Return the path of fakeroot; raise ToolError when it is not installed."""
    # The one that talks by message queues is hundreds of times faster than the one over TCP.
    for name in ("fakeroot-sysv", "fakeroot"):
        if found := shutil.which(name, path=environment.get("PATH")):
            return found
    raise ToolError(
        "fakeroot is not in PATH, but a script is to run as if by root; install it, or give owners"
        " and modes with `perms`, which needs none"
    )
