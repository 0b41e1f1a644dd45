"""Joining the trees of `contents` at `/` as copies of their files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from nixdock.rootfs.linked_contents import STORE_DIR, JoinedTree, read_errors
from nixdock.rootfs.underlay import Underlay

__all__ = ["copy_contents"]


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

    Files of later contents replace those of earlier ones; raise SpecError if a file would replace
    a directory that is not empty. Symlinks to directories become directories; with
    `keep_directory_links` they stay, and later contents are copied to where they lead.
    """
    tree = JoinedTree(into, root, underlay or Underlay(), store_dir)
    into.chmod(0o755)
    for content in tree.content_directories(contents):
        with read_errors(content):
            _copy_directory(tree, content, "", tree.source(content), keep=keep_directory_links)


def _copy_directory(
    tree: JoinedTree, content: str, path: str, directory: str, *, keep: bool
) -> None:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        inner = f"{path}/{entry.name}" if path else entry.name
        if entry.is_dir() and not (keep and entry.is_symlink()):
            _make_directory(tree, content, inner, keep=keep)
            _copy_directory(tree, content, inner, entry.path, keep=keep)
        else:
            _copy_file(tree, content, inner, entry)


def _copy_file(tree: JoinedTree, content: str, path: str, entry: os.DirEntry[str]) -> None:
    real_path = tree.underlay.real_path(path)
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
    else:
        shutil.copyfile(entry.path, target)
        target.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o777)


def _make_directory(tree: JoinedTree, content: str, path: str, *, keep: bool) -> None:
    """Make the directory `path`, in place of a file or symlink at that path.

    With `keep`, a symlink that leads to a path in the tree stays, and its target is made instead.
    """
    real_path = tree.underlay.real_directory(path)
    target = tree.directory / real_path
    if keep and target.is_symlink() and target.resolve().is_relative_to(tree.directory.resolve()):
        target.resolve().mkdir(parents=True, exist_ok=True)
        return
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
        target.unlink()
        tree.origins.pop(real_path, None)
    tree.make_directory(content, real_path)
