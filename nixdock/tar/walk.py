"""Walking a file tree, as the entries of an archive."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.system.opening import open_directory
from nixdock.system.text import path_text
from nixdock.tar.faults import tree_error
from nixdock.tar.header import Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import WHITEOUT, whiteout_error

__all__ = ["walk"]

_TYPE_MASK: Final = 0o170000


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, with `name` as the name of its root.

    The order is depth first, with a directory before its contents and siblings sorted by their
    names as text. Symlinks are not followed, not even if they replace directories meanwhile; only
    the directory of `source` may be reached through some. Raise PackError for devices, sockets,
    names of whiteouts, and files that vanish or can't be read.
    """
    try:
        directory, base = os.path.split(source.rstrip(b"/"))
        source = os.path.join(os.path.realpath(directory), base)  # noqa: PTH118 (bytes)
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
    except OSError as error:
        raise tree_error(os.fsencode(error.filename), error.errno or 0) from None


def _children(directory: Entry) -> list[Entry]:
    source = directory.source
    # All is read through one descriptor: the path may lead to another directory by now.
    descriptor = open_directory(source)
    try:
        with os.scandir(descriptor) as scan:
            children = {child.name: child for child in scan}
        names = sorted(children) if "/".join(children).isascii() else _by_text(children)
        # To encode all names together takes less time.
        all_names = os.fsencode("/".join(names))
        bases = all_names.split(b"/") if names else []
        if WHITEOUT in all_names:
            _refuse_whiteouts(source, bases)
        entries = []
        source += b"/" * (source != b"/")
        prefix = directory.name
        in_place = prefix == source
        for name, base in zip(names, bases, strict=True):
            path = source + base
            # In a store at its usual place both paths are equal: share one object.
            member = path if in_place else prefix + base
            info = children[name].stat(follow_symlinks=False)
            mode = info.st_mode
            # Nearly all entries are files: avoid a function call for them.
            if mode & _TYPE_MASK == stat.S_IFREG:
                entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
            else:
                entry = _entry(path, member, info, name, descriptor)
            entries.append(entry)
    except OSError as error:
        # What was read through the open directory has a name, or the directory's number.
        if isinstance(error.filename, str):
            error.filename = source + os.fsencode(error.filename)
        elif not isinstance(error.filename, bytes):
            error.filename = directory.source
        raise
    finally:
        os.close(descriptor)
    return entries


def _by_text(names: Iterable[str]) -> list[str]:
    """Sort names as UTF-8 text, whatever the encoding of the locale is."""
    return sorted(names, key=lambda name: name_text(os.fsencode(name)))


def _entry(
    path: bytes,
    member: bytes,
    info: os.stat_result,
    name: str | None = None,
    directory: int | None = None,
) -> Entry:
    """Return the entry of the file at `path`, which is `name` in the open `directory`."""
    mode = info.st_mode
    kind = mode & _TYPE_MASK
    if kind == stat.S_IFREG:
        return Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
    if kind == stat.S_IFLNK:
        if name is None:
            target = os.readlink(path)
        else:
            target = os.fsencode(os.readlink(name, dir_fd=directory))
        return Entry(member, Kind.SYMLINK, mode & 0o7777, 0, target)
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
            raise whiteout_error(path_text(directory + b"/" + name))
