"""Making packable what a script without rights has left: sockets, and files that nobody may read.

Root may read all files, but the image must not depend on who builds it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from nixdock.errors import PackError
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.system.text import path_text

__all__ = ["as_fakes", "make_packable", "modes_by_name"]

log = logging.getLogger(__name__)


def make_packable(tree: Path) -> dict[Inode, int]:
    """Remove the sockets in `tree`, with a warning, and let its owner read and change the rest.

    Return the modes, with file types, that files had before, where they are different now. Raise
    PackError if a file can't be read, such as one whose path is too long.
    """
    changed = {}
    sockets = []
    try:
        for path, info in _files(tree, permit=True):
            if stat.S_ISSOCK(info.st_mode):
                sockets.append(path)
            elif _permitted(info.st_mode) is not None:
                changed[Inode(info.st_dev, info.st_ino)] = info.st_mode
        for path in sockets:
            text = _place(path, tree)
            log.warning("%s is left out: it is a socket, which a layer can't hold", text)
            os.unlink(path)  # noqa: PTH108 (bytes)
    except OSError as error:
        text = _place(os.fsencode(error.filename or tree), tree)
        message = f"can't read {text}, which the scripts made: {error.strerror}"
        raise PackError(message, path=text) from None
    return changed


def _place(path: bytes, tree: Path) -> str:
    return path_text(path.removeprefix(os.fsencode(tree)))


def modes_by_name(modes: Mapping[Inode, int], tree: Path) -> dict[bytes, int]:
    """Return the permissions of files in `tree` by their paths in it, but for the tree's own."""
    if not modes:
        return {}
    start = len(os.fsencode(tree)) + 1
    found = {}
    for path, info in _files(tree):
        mode = modes.get(Inode(info.st_dev, info.st_ino))
        if mode is not None and path[start:]:
            found[path[start:]] = stat.S_IMODE(mode)
    return found


def as_fakes(modes: Mapping[Inode, int]) -> dict[Inode, FakeFile]:
    """Return the state in which fakeroot shows these modes, with root as the owner."""
    return {inode: FakeFile(mode) for inode, mode in modes.items()}


def _files(tree: Path, *, permit: bool = False) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield the paths and attributes of all files in a tree, and first let the owner read them."""
    pending = [os.fsencode(tree)]
    while pending:
        path = pending.pop()
        info = os.lstat(path)
        if permit and (mode := _permitted(info.st_mode)) is not None:
            os.chmod(path, mode)  # noqa: PTH101 (bytes)
        yield path, info
        if stat.S_ISDIR(info.st_mode):
            pending += sorted(path + b"/" + name for name in os.listdir(path))


def _permitted(mode: int) -> int | None:
    """Return the permissions with which the owner can read and move a file, if it has others.

    They are without set-id bits, which Nix's sandbox forbids to set.
    """
    if stat.S_ISDIR(mode):
        needed = stat.S_IRWXU
    elif stat.S_ISREG(mode):
        needed = stat.S_IRUSR
    else:
        return None
    return None if mode & needed == needed else mode & 0o1777 | needed
