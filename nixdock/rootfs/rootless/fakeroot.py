"""fakeroot's state: the owners, modes and devices that files have for programs under fakeroot.

A state file has one line for each file whose owner, mode or type differs from that on disk:
`dev=HEX,ino=DECIMAL,mode=OCTAL,uid=DECIMAL,gid=DECIMAL,nlink=DECIMAL,rdev=DECIMAL`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from nixdock.errors import ToolError

__all__ = [
    "FakeFile",
    "Inode",
    "fakeroot_program",
    "format_state",
    "parse_state",
    "state_of_tree",
]

_LINE: Final = re.compile(
    r"dev=([0-9a-f]+),ino=(\d+),mode=([0-7]+),uid=(\d+),gid=(\d+),nlink=\d+,rdev=(\d+)", re.ASCII
)


class Inode(NamedTuple):
    """A device and inode number, which identify a file."""

    device: int
    number: int


@dataclass(frozen=True, slots=True)
class FakeFile:
    """The attributes of a file under fakeroot; `mode` includes the file type.

    fakeroot does not keep `xattrs`, so they are not compared.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = field(default=(), compare=False)


def parse_state(text: str) -> dict[Inode, FakeFile]:
    """Parse the state file that `fakeroot -s` writes; raise ToolError for a malformed line."""
    state = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ToolError(f"the state that fakeroot has saved has a malformed line: {line!r}")
        device, number, mode, uid, gid, rdev = match.groups()
        inode = Inode(int(device, 16), int(number))
        state[inode] = FakeFile(int(mode, 8), int(uid), int(gid), int(rdev))
    return state


def format_state(files: Iterable[tuple[Inode, FakeFile]]) -> str:
    """Return a state file for `fakeroot -i`."""
    return "".join(
        f"dev={inode.device:x},ino={inode.number},mode={file.mode:o},uid={file.uid},"
        f"gid={file.gid},nlink=1,rdev={file.rdev}\n"
        for inode, file in files
    )


def state_of_tree(state: Mapping[Inode, FakeFile], root: Path) -> dict[Inode, FakeFile]:
    """Return the part of a state that is about files in the tree at `root`.

    The rest is about files that are gone, such as those of a build or mount points, unless the tree
    can't be read as a whole: new files get their inode numbers, and would get their attributes.
    """
    found: set[Inode] = set()
    pending = [os.fspath(root)]
    info = os.lstat(root)
    found.add(Inode(info.st_dev, info.st_ino))
    try:
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    found.add(Inode(info.st_dev, info.st_ino))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    except OSError:
        return dict(state)
    return {inode: file for inode, file in state.items() if inode in found}


def fakeroot_program(environment: Mapping[str, str]) -> str:
    """Return the path of fakeroot; raise ToolError if it is not in the environment's PATH."""
    # fakeroot-sysv uses message queues, which are hundreds of times faster than fakeroot-tcp.
    for name in ("fakeroot-sysv", "fakeroot"):
        if program := shutil.which(name, path=environment.get("PATH")):
            return program
    raise ToolError(
        "fakeroot is not in PATH, but run_as_root and fake_root_commands need it; install it, or"
        " set owners and modes with perms instead"
    )
