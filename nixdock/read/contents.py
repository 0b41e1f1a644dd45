"""What is in the tar of a layer: store paths with the sizes of their NARs, and files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import BinaryIO, Final, NamedTuple

from msgspec import Struct, field

from nixdock.nix.nar_size import (
    NAR_START,
    directory_size,
    entry_size,
    file_size,
    symlink_size,
)
from nixdock.read.reference_search import SearchedReader, hashes_in
from nixdock.system.text import path_text
from nixdock.tar.kinds import KIND_NAMES, Kind
from nixdock.tar.member import Member
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import is_hidden

__all__ = [
    "DATABASE",
    "FileEntry",
    "LayerContents",
    "read_contents",
    "size_in_nar",
    "store_paths_among",
]

DATABASE: Final = b"nix/var/nix/db/db.sqlite"
"""The normalised name of Nix's database."""

# The first component with the form of a store path's name, and all components before it.
_STORE_PATH: Final = re.compile(
    rb"((?:[^/]+/)+?[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+\-._?=]{1,211})(?:/|\Z)"
)
_EXECUTABLE: Final = 0o100
_LINKS: Final = frozenset({Kind.SYMLINK, Kind.HARD_LINK})


class FileEntry(NamedTuple):
    """A member of a tar: `path` is absolute, with bytes that are not UTF-8 escaped.

    `kind` is a name of `KIND_NAMES`. Only files have a size in bytes, and only links a target.
    """

    path: str
    kind: str
    size: int
    mode: int
    target: str | None


class LayerContents(Struct, frozen=True):
    """What looks like store paths of any store, in the tar's order, with the sizes of their NARs.

    The NAR is that of the store path as far as it is in this layer. `files` are all members, if
    they are wanted. `has_nix_database` says whether one is the file of Nix's database. `found` are
    the hashes of store paths whose names are in the files and symlinks of each store path, or None
    if these were not searched to the end. `links` are the targets of symlinks outside of store
    paths, by absolute path.
    """

    nar_sizes: Mapping[str, int] = field(default_factory=dict)
    files: tuple[FileEntry, ...] | None = None
    has_nix_database: bool = False
    found: Mapping[str, frozenset[str]] | None = None
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def store_paths(self) -> tuple[str, ...]:
        """The store paths."""
        return tuple(self.nar_sizes)


def read_contents(
    tar: BinaryIO,
    what: str = "the tar",
    *,
    searched: SearchedReader | None = None,
    with_files: bool = False,
) -> LayerContents:
    """Return what is in `tar`, which is read to its end.

    `searched` is what `tar` reads from, if files are to be searched for names of store paths. Raise
    ImageError, with `what` as its subject, if the tar is malformed.
    """
    sizes: dict[bytes, int] = {}
    found: dict[bytes, set[bytes]] = defaultdict(set)
    files: list[FileEntry] = []
    # Of files, for hard links to them: a NAR has the file again.
    linked: dict[bytes, int] = {}
    links: dict[str, str] = {}
    prefix, path = b"\0", None
    has_nix_database = False
    # The last file in a store path, and its place.
    last: tuple[bytes, int, int] | None = None
    for member in TarReader(tar, what, sparse=True):
        name = member.name
        if with_files:
            files.append(_file(member))
        if searched is not None and last is not None:
            found[last[0]] |= searched.found_before(*last[1:])
            last = None
        if not name.startswith(prefix):
            prefix, path = _store_path(name)
            if path is not None:
                sizes.setdefault(path, 0)
            elif name.endswith(DATABASE):
                has_nix_database |= _plain(name) == DATABASE
        if path is None and member.kind == Kind.SYMLINK:
            links["/" + path_text(_plain(name))] = path_text(member.target)
        if path is None or is_hidden(name):
            continue
        sizes[path] += size_in_nar(member, name[len(prefix) :].rstrip(b"/"), linked)
        if searched is not None:
            if member.kind == Kind.SYMLINK:
                found[path] |= hashes_in(member.target)
            last = (path, member.offset, member.offset + _stored_size(member))
    if searched is not None and last is not None:
        found[last[0]] |= searched.found_before(*last[1:])
    return LayerContents(
        {_text(path): size for path, size in sizes.items()},
        tuple(files) if with_files else None,
        has_nix_database,
        None
        if searched is None or searched.has_given_up
        else {
            _text(path): frozenset(name.decode("ascii") for name in names)
            for path, names in found.items()
        },
        links,
    )


def size_in_nar(member: Member, inside: bytes, linked: dict[bytes, int]) -> int:
    """Return what a member takes in the NAR of its store path, where its name is `inside`.

    `linked` are the sizes of earlier files in NARs by name, for hard links; it gets that of this
    one.
    """
    size = _node_size(member, linked)
    return size + (entry_size(len(inside) - inside.rfind(b"/") - 1) if inside else NAR_START)


def _stored_size(member: Member) -> int:
    """Return how many bytes of a file are in the tar."""
    if member.extents is None:
        return member.size
    return sum(size for _, size in member.extents)


def store_paths_among(names: Iterable[bytes]) -> tuple[str, ...]:
    """Return which of the names of a tar's members look like paths of any store, in order."""
    paths: dict[bytes, None] = {}
    prefix = b"\0"
    for name in names:
        # Members of the same store path mostly follow each other.
        if not name.startswith(prefix):
            prefix, path = _store_path(name)
            if path is not None:
                paths[path] = None
    return tuple(map(_text, paths))


def _store_path(full_name: bytes) -> tuple[bytes, bytes | None]:
    """Return the store path that a member is in, if any, behind what members in it start with."""
    name = full_name.lstrip(b"./")
    match = _STORE_PATH.match(name)
    if match is None:
        return b"\0", None
    return full_name[: len(full_name) - len(name) + match.end(1)] + b"/", match[1]


def _text(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")


def _node_size(member: Member, linked: dict[bytes, int]) -> int:
    """Return what a member takes in a NAR; one that can't be in a NAR takes nothing."""
    match member.kind:
        case Kind.FILE:
            size = file_size(member.size, executable=bool(member.mode & _EXECUTABLE))
            linked[_plain(member.name)] = size
            return size
        case Kind.HARD_LINK:
            return linked.get(_plain(member.target), 0)
        case Kind.SYMLINK:
            return symlink_size(len(member.target))
        case Kind.DIRECTORY:
            return directory_size()
    return 0


def _plain(name: bytes) -> bytes:
    return b"/".join([part for part in name.split(b"/") if part and part != b"."])


def _file(member: Member) -> FileEntry:
    target = path_text(member.target) if member.kind in _LINKS else None
    path = "/" + path_text(_plain(member.name))
    return FileEntry(path, KIND_NAMES[member.kind], member.size, member.mode, target)
