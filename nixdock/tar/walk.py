"""Walking a file tree, as the entries of an archive."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from nixdock.errors import PackError
from nixdock.system.opening import open_directory
from nixdock.system.text import path_text
from nixdock.tar.faults import tree_error
from nixdock.tar.header import Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import WHITEOUT, whiteout_error

__all__ = ["Rename", "walk"]

Rename = Callable[[str], str]
"""Returns the name in an archive of a file that has another one on the disk."""

_TYPE_MASK: Final = 0o170000
# What Linux says of each symlink; what other systems say depends on the umask.
_MODE_OF_SYMLINK: Final = 0o777
_NO_NAMES: Final = frozenset({"", ".", ".."})


def walk(source: bytes, name: bytes, rename: Rename | None = None) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, with `name` as the name of its root.

    With `rename`, the files below that have other names than on the disk.

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
        pending = [iter(_children(root, rename))] if root.kind == Kind.DIRECTORY else []
        while pending:
            for entry in pending[-1]:
                yield entry
                if entry[1] == Kind.DIRECTORY:
                    pending.append(iter(_children(entry, rename)))
                    break
            else:
                pending.pop()
    except OSError as error:
        raise tree_error(os.fsencode(error.filename), error.errno or 0) from None


def _children(directory: Entry, rename: Rename | None) -> list[Entry]:
    source = directory.source
    # All is read through one descriptor: the path may lead to another directory by now.
    descriptor = open_directory(source)
    try:
        with os.scandir(descriptor) as scan:
            children = {child.name: child for child in scan}
        if rename is not None:
            children = _renamed(children, rename, source)
        names = sorted(children) if "/".join(children).isascii() else _by_text(children)
        # To encode all names together takes less time.
        all_names = os.fsencode("/".join(names))
        bases = all_names.split(b"/") if names else []
        files = bases
        if rename is not None:
            files = [os.fsencode(children[name].name) for name in names]
        if WHITEOUT in all_names:
            _refuse_whiteouts(source, bases)
        entries = []
        source += b"/" * (source != b"/")
        prefix = directory.name
        in_place = prefix == source
        for name, base, file in zip(names, bases, files, strict=True):
            path = source + file
            # In a store at its usual place both paths are equal: share one object.
            member = path if in_place and file == base else prefix + base
            child = children[name]
            info = child.stat(follow_symlinks=False)
            mode = info.st_mode
            # Nearly all entries are files: avoid a function call for them.
            if mode & _TYPE_MASK == stat.S_IFREG:
                entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
            else:
                entry = _entry(path, member, info, child.name, descriptor)
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


def _renamed(
    children: Mapping[str, os.DirEntry[str]], rename: Rename, directory: bytes
) -> dict[str, os.DirEntry[str]]:
    renamed: dict[str, os.DirEntry[str]] = {}
    for file, child in children.items():
        name = rename(file)
        other = renamed.setdefault(name, child)
        if other is not child or name in _NO_NAMES:
            path = path_text(directory + b"/" + os.fsencode(file))
            problem = "no name" if other is child else "the same name as a file beside it"
            raise PackError(f"{path} would have {problem} in a layer", path=path)
    return renamed


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
        return Entry(member, Kind.SYMLINK, _MODE_OF_SYMLINK, 0, target)
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
