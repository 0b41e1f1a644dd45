"""Joining trees at `/` as copies of their files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from nixdock.rootfs.contents import Joining, readable
from nixdock.rootfs.underlay import Underlay

__all__ = ["copy_contents"]


def copy_contents(
    contents: Sequence[str],
    into: Path,
    root: str = "",
    underlay: Underlay | None = None,
    *,
    keep_directory_links: bool = False,
) -> None:
    """Copy the trees `contents` into the directory `into`, later ones over earlier ones.

    Links to directories become directories; with `keep_directory_links` they stay links, and
    what later contents have below their names goes to where they lead.
    """
    joining = Joining(into, root, underlay or Underlay())
    into.chmod(0o755)
    for content in joining.contents(contents):
        with readable(content):
            _copy(joining, content, "", f"{root}{content}", keep=keep_directory_links)


def _copy(joining: Joining, content: str, relative: str, directory: str, *, keep: bool) -> None:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        inner = f"{relative}/{entry.name}" if relative else entry.name
        is_link = entry.is_symlink()
        if entry.is_dir() and not (is_link and keep):
            _make_room(joining, content, inner, keep=keep)
            _copy(joining, content, inner, entry.path, keep=keep)
            continue
        place = joining.underlay.place(inner)
        target = joining.into / place
        if target.is_dir() and not target.is_symlink():
            if any(target.iterdir()):
                raise joining.clash(place, f"{content} has a file")
            target.rmdir()
        joining.make_parents(content, place)
        if os.path.lexists(target):
            target.unlink()
        joining.sources[place] = content
        if is_link:
            target.symlink_to(os.readlink(entry.path))
        else:
            shutil.copyfile(entry.path, target)
            target.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o777)


def _make_room(joining: Joining, content: str, relative: str, *, keep: bool) -> None:
    """See to it that there is a directory `relative`."""
    place = joining.underlay.directory(relative)
    target = joining.into / place
    if keep and target.is_symlink() and target.resolve().is_relative_to(joining.into.resolve()):
        target.resolve().mkdir(parents=True, exist_ok=True)
        return
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
        target.unlink()
        joining.sources.pop(place, None)
    joining.make_directory(content, place)
