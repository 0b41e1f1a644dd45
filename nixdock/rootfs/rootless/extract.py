"""Extracting a base image's root file system into a directory without being root.

Only root can set foreign owners and make devices. These are returned as fakeroot's state instead.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nixdock.errors import ImageError
from nixdock.read.tree import MergedTree, Node
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.system.text import shown
from nixdock.tar.kinds import Kind

__all__ = ["extract"]

_FILE_TYPES: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}
_LAST_TIME: Final = (1 << 63) // 10**9
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(tree: MergedTree, directory: Path) -> dict[Inode, FakeFile]:
    """Extract `tree` into the empty `directory`; return fakeroot's state for the files.

    Nothing is written outside: paths of the tree lead through directories only, never through
    symlinks. Raise ImageError if the file system can't hold a file.
    """
    return dict(_extract_nodes(tree, os.fsencode(directory)))


def _extract_nodes(tree: MergedTree, top: bytes) -> Iterator[tuple[Inode, FakeFile]]:
    """Extract all files, and yield the state of each one once it has its final mode."""
    first_paths: dict[Node, bytes] = {}
    directories = [(top, tree.root)]
    for name, node in tree.walk():
        path = top + b"/" + name
        try:
            if node in first_paths:
                os.link(first_paths[node], path, follow_symlinks=False)
                continue
            first_paths[node] = path
            if node.is_directory:
                os.mkdir(path, 0o700)
                directories.append((path, node))
                continue
            _create_file(tree, node, path)
            yield _state(path, node)
        except OSError as error:
            raise ImageError(
                f"can't extract {shown(name)!r} of the base image: {error.strerror}",
                place=shown(name),
            ) from None
    # Set modes last: files can't be created in a read-only directory.
    for path, node in reversed(directories):
        os.chmod(path, node.mode & 0o777 | 0o700)
        yield _state(path, node)


def _create_file(tree: MergedTree, node: Node, path: bytes) -> None:
    """Create a file that is not a directory; an empty file stands in for a device."""
    if node.kind == Kind.SYMLINK:
        os.symlink(node.target, path)
        return
    if node.kind == Kind.FIFO:
        os.mkfifo(path, 0o600)
    else:
        with os.fdopen(os.open(path, _NEW_FILE, 0o600), "wb") as file:
            if node.kind == Kind.FILE:
                with tree.open(node) as stream:
                    shutil.copyfileobj(stream, file, 1 << 20)
    # The owner must be able to read the file to pack it.
    os.chmod(path, node.mode & 0o777 | 0o400)
    # Docker, too, takes a time that it can't count the nanoseconds of for 1970.
    time = node.mtime if 0 <= node.mtime < _LAST_TIME else 0
    os.utime(path, (time, time))


def _state(path: bytes, node: Node) -> tuple[Inode, FakeFile]:
    info = os.lstat(path)
    mode = _FILE_TYPES[node.kind] | (0o777 if node.kind == Kind.SYMLINK else node.mode)
    return Inode(info.st_dev, info.st_ino), FakeFile(
        mode, node.uid, node.gid, os.makedev(*node.device), node.xattrs
    )
