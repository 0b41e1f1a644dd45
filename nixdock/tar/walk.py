"""Walking a file tree: the entries of its archive."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.system.text import path_text
from nixdock.tar.header import Entry, name_text
from nixdock.tar.kinds import Kind

__all__ = ["walk"]


_TYPE: Final = 0o170000


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, as members named `name` and below it.

    Depth first, a directory before its contents, siblings in the order of their names as text.
    Symbolic links are entries of their own. Raise PackError for what a layer can't hold.
    """
    # The path at which a system call fails is in what it raises.
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
        raise PackError(f"{path_text(error.filename)} vanished while its tree was read") from None
    except OSError as error:
        raise PackError(f"can't read {path_text(error.filename)}: {error.strerror}") from None


def _children(directory: Entry) -> list[Entry]:
    with os.scandir(directory.source) as scan:
        found = {child.name: child for child in scan}
    joined = b"/".join(found)
    if b".wh." in joined:
        _refuse_whiteouts(directory.source, found)
    names = sorted(found) if joined.isascii() else sorted(found, key=name_text)
    entries = []
    prefix = directory.name
    in_place = prefix == directory.source + b"/"
    for name in names:
        child = found[name]
        info = child.stat(follow_symlinks=False)
        mode = info.st_mode
        # Nearly all entries are files: no call for them.
        if mode & _TYPE == stat.S_IFREG:
            path = child.path
            # A store at its own place has the same names in the archive: one object for both.
            member = path if in_place else prefix + name
            entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
        else:
            entry = _entry(child.path, prefix + name, info)
        entries.append(entry)
    return entries


def _entry(path: bytes, member: bytes, info: os.stat_result) -> Entry:
    mode = info.st_mode
    kind = mode & _TYPE
    if kind == stat.S_IFREG:
        return Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
    if kind == stat.S_IFLNK:
        return Entry(member, Kind.SYMLINK, mode & 0o7777, 0, os.readlink(path))
    if kind == stat.S_IFDIR:
        slashed = member if member.endswith(b"/") else member + b"/"
        return Entry(slashed, Kind.DIRECTORY, mode & 0o7777, 0, b"", path)
    if kind == stat.S_IFIFO:
        return Entry(member, Kind.FIFO, mode & 0o7777)
    raise PackError(f"{path_text(path)} is a device or a socket, which a layer can't hold")


def _refuse_whiteouts(directory: bytes, names: Iterable[bytes]) -> None:
    for name in sorted(names):
        if name.startswith(b".wh."):
            raise PackError(
                f"{path_text(directory + b'/' + name)} has the name of a whiteout: in a layer it"
                " would delete a file instead of being one; rename it or leave its store path out"
            )
