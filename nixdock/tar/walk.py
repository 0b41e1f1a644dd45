"""Walking a file tree, as the entries of an archive."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.system.text import path_text
from nixdock.tar.header import Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import WHITEOUT

__all__ = ["walk"]

_TYPE_MASK: Final = 0o170000


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, with `name` as the name of its root.

    The order is depth first, with a directory before its contents and siblings sorted by their
    names as text. Symlinks are not followed. Raise PackError for devices, sockets, names of
    whiteouts, and files that vanish or can't be read.
    """
    try:
        root = _entry(source, name, os.lstat(source))
        yield root
        pending = [iter(_children(root))] if root.kind == Kind.DIRECTORY else []
        while pending:
            for entry in pending[-1]:
                yield entry
                if entry[1] == Kind.DIRECTORY:
                    pending.append(iter(_children(entry)))
                    break
            else:
                pending.pop()
    except FileNotFoundError as error:
        path = path_text(error.filename)
        raise PackError(f"{path} vanished while its tree was read", path=path) from None
    except OSError as error:
        path = path_text(error.filename)
        raise PackError(f"can't read {path}: {error.strerror}", path=path) from None


def _children(directory: Entry) -> list[Entry]:
    with os.scandir(directory.source) as scan:
        children = {child.name: child for child in scan}
    all_names = b"/".join(children)
    if WHITEOUT in all_names:
        _refuse_whiteouts(directory.source, children)
    names = sorted(children) if all_names.isascii() else sorted(children, key=name_text)
    entries = []
    prefix = directory.name
    in_place = prefix == directory.source + b"/"
    for name in names:
        child = children[name]
        info = child.stat(follow_symlinks=False)
        mode = info.st_mode
        # Nearly all entries are files: avoid a function call for them.
        if mode & _TYPE_MASK == stat.S_IFREG:
            path = child.path
            # In a store at its usual place both paths are equal: share one object.
            member = path if in_place else prefix + name
            entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
        else:
            entry = _entry(child.path, prefix + name, info)
        entries.append(entry)
    return entries


def _entry(path: bytes, member: bytes, info: os.stat_result) -> Entry:
    mode = info.st_mode
    kind = mode & _TYPE_MASK
    if kind == stat.S_IFREG:
        return Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
    if kind == stat.S_IFLNK:
        return Entry(member, Kind.SYMLINK, mode & 0o7777, 0, os.readlink(path))
    if kind == stat.S_IFDIR:
        slashed = member if member.endswith(b"/") else member + b"/"
        return Entry(slashed, Kind.DIRECTORY, mode & 0o7777, 0, b"", path)
    if kind == stat.S_IFIFO:
        return Entry(member, Kind.FIFO, mode & 0o7777)
    text = path_text(path)
    raise PackError(f"{text} is a device or a socket, which a layer can't hold", path=text)


def _refuse_whiteouts(directory: bytes, names: Iterable[bytes]) -> None:
    for name in sorted(names):
        if name.startswith(WHITEOUT):
            path = path_text(directory + b"/" + name)
            raise PackError(
                f"{path} has the name of a whiteout: in a layer it would delete a file instead of"
                " being one; rename it or leave its store path out",
                path=path,
            )
