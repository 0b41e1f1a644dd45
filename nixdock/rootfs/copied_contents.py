"""Joining the trees of `contents` at `/` as copies of their files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from nixdock.errors import PackError
from nixdock.rootfs.content_files import read_errors
from nixdock.rootfs.linked_contents import STORE_DIR, JoinedTree
from nixdock.rootfs.obstacles import make_directories
from nixdock.rootfs.underlay import Underlay

__all__ = ["copy_contents", "copy_into"]


def copy_contents(
    contents: Sequence[str],
    into: Path,
    root: str = "",
    underlay: Underlay | None = None,
    store_dir: str = STORE_DIR,
    *,
    keep_directory_links: bool = False,
) -> None:
    """Copy the trees `contents` into the directory `into`; the store `store_dir` is below `root`.

    See `copy_into`.
    """
    tree = JoinedTree(into, root, underlay or Underlay(), store_dir)
    copy_into(tree, contents, keep_directory_links=keep_directory_links)


def copy_into(
    tree: JoinedTree, contents: Sequence[str], *, keep_directory_links: bool = False
) -> None:
    """Copy the trees `contents` into `tree`.

    Files of later contents replace those of earlier ones; raise SpecError if a file would replace
    a directory that is not empty. Symlinks to directories become directories, except those that
    lead to a directory above them, or out of the store; with `keep_directory_links` they all stay,
    and later contents are copied to where they lead. Raise PackError for devices and sockets.
    """
    tree.directory.chmod(0o755)
    for content in tree.content_directories(contents):
        with read_errors(content):
            _copy_directory(tree, content, "", tree.source(content), keep=keep_directory_links)


def _copy_directory(
    tree: JoinedTree, content: str, path: str, directory: str, *, keep: bool
) -> None:
    # The directories from the content down to the one that is being copied: the entries that are
    # yet to come in each, and the directory itself. Every symlink to one of them stays a symlink,
    # or copying would never end.
    pending = [(tree.entries(path, tree.underlay.real_directory(path), directory), _id(directory))]
    while pending:
        for place, entry in pending[-1][0]:
            above = {identity for _, identity in pending} if entry.is_symlink() else set()
            source = tree.followed(entry.path) if entry.is_symlink() else entry.path
            if _is_directory(tree, entry, source, above, keep=keep):
                real_path = tree.underlay.real_child(place.real_parent, entry.name) or place.real
                _make_directory(tree, content, real_path, keep=keep)
                pending.append((tree.entries(place.path, real_path, source), _id(source)))
                break
            _copy_file(tree, content, place.real, entry)
        else:
            pending.pop()


def _id(directory: str) -> tuple[int, int]:
    info = os.stat(directory)  # noqa: PTH116 (called for every directory)
    return info.st_dev, info.st_ino


def _is_directory(
    tree: JoinedTree,
    entry: os.DirEntry[str],
    source: str,
    above: set[tuple[int, int]],
    *,
    keep: bool,
) -> bool:
    """Tell whether to copy an entry, which leads to `source`, as a directory.

    `above` are the directories that it is in.
    """
    if not entry.is_symlink():
        return entry.is_dir()
    try:
        if keep or not Path(source).is_dir() or _id(source) in above:
            return False
        return not tree.leads_out(entry.path, source)
    except OSError as error:
        # A symlink that leads to itself.
        if error.errno == errno.ELOOP:
            return False
        raise


def _copy_file(tree: JoinedTree, content: str, real_path: str, entry: os.DirEntry[str]) -> None:
    target = tree.directory / real_path
    if target.is_dir() and not target.is_symlink():
        if any(target.iterdir()):
            raise tree.conflict(real_path, content, is_directory=False)
        target.rmdir()
    tree.make_parents(content, real_path)
    if os.path.lexists(target):
        target.unlink()
    tree.origins[real_path] = content
    if entry.is_symlink():
        target.symlink_to(os.readlink(entry.path))
        return
    mode = entry.stat().st_mode
    if stat.S_ISFIFO(mode):
        os.mkfifo(target)
    elif stat.S_ISREG(mode):
        shutil.copyfile(entry.path, target)
    else:
        raise PackError(
            f"{entry.path} is a device or a socket, which a layer can't hold; remove it from the"
            " contents",
            path=entry.path,
        )
    target.chmod(stat.S_IMODE(mode) & 0o777)


def _make_directory(tree: JoinedTree, content: str, real_path: str, *, keep: bool) -> None:
    """Make the directory at `real_path`, in place of a file or symlink there.

    With `keep`, a symlink that leads to a path in the tree stays, and its target is made instead.
    """
    target = tree.directory / real_path
    if keep and target.is_symlink() and target.resolve().is_relative_to(tree.directory.resolve()):
        make_directories(target.resolve())
        return
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
        target.unlink()
        tree.origins.pop(real_path, None)
    tree.make_directory(content, real_path)
