"""A base image's root file system in a directory, made by whoever runs this.

Owners, set-id bits and devices can't be there without being root: fakeroot is told of them.
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

_KINDS: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(tree: MergedTree, directory: Path) -> dict[Inode, FakeFile]:
    """Put the files of `tree` into the empty `directory`; return what they are under fakeroot.

    Nothing is written outside: the tree's directories are directories, never links. Raise
    ImageError for what the file system can't hold.
    """
    return dict(_extracted(tree, os.fsencode(directory)))


def _extracted(tree: MergedTree, top: bytes) -> Iterator[tuple[Inode, FakeFile]]:
    first: dict[int, bytes] = {}
    directories = [(top, tree.root)]
    for name, node in tree.walk():
        path = top + b"/" + name
        try:
            if id(node) in first:
                os.link(first[id(node)], path, follow_symlinks=False)
                continue
            first[id(node)] = path
            if node.is_directory:
                os.mkdir(path, 0o700)
                directories.append((path, node))
                continue
            _make(tree, node, path)
            yield _fake(path, node)
        except OSError as error:
            message = f"{shown(name)!r} of the base image can't be put on disk: {error.strerror}"
            raise ImageError(message) from None
    # Deepest first: those above must be writable as long as something is put into them.
    for path, node in reversed(directories):
        os.chmod(path, node.mode & 0o777 | 0o700)
        yield _fake(path, node)


def _make(tree: MergedTree, node: Node, path: bytes) -> None:
    if node.kind == Kind.SYMLINK:
        os.symlink(node.target, path)
        return
    if node.kind == Kind.FIFO:
        os.mkfifo(path, 0o600)
    else:
        with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
            if node.kind == Kind.FILE:
                with tree.open(node) as stream:
                    shutil.copyfileobj(stream, file, 1 << 20)
    # What comes after needs to read it.
    os.chmod(path, node.mode & 0o777 | 0o400)
    os.utime(path, (node.mtime, node.mtime))


def _fake(path: bytes, node: Node) -> tuple[Inode, FakeFile]:
    info = os.lstat(path)
    mode = _KINDS[node.kind] | (0o777 if node.kind == Kind.SYMLINK else node.mode)
    return Inode(info.st_dev, info.st_ino), FakeFile(
        mode, node.uid, node.gid, os.makedev(*node.device), node.xattrs
    )
