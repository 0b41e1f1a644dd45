"""Layers, and what they can be made from.

A source knows how to write its tar; packing a source once gives a layer, whose digests are those
of the bytes that were written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import orjson

from nixdock.digest import Write
from nixdock.errors import PackError
from nixdock.permissions import PermissionRule, apply_rules
from nixdock.store_path import DEFAULT_STORE_DIR, Hash, StorePath
from nixdock.tar_header import Attributes, Entry, Headers, Kind, MemberMeta, padded_size
from nixdock.tarball import walk, write_tar

__all__ = [
    "OWN_FILES_HISTORY",
    "BlobLayer",
    "FinishedLayer",
    "Layer",
    "LayerHistory",
    "LayerSource",
    "MemberLayer",
    "Source",
    "StoreLayer",
    "TarLayer",
    "TreeLayer",
]

_RECIPE_VERSION: Final = 1
_COMMENT_NAMES: Final = 8
_CHUNK: Final = 1 << 20
_MOST_HELD: Final = 200_000


@dataclass(frozen=True, slots=True)
class LayerHistory:
    """How a layer came about: what made it, and what is in it, for people."""

    created_by: str
    comment: str


OWN_FILES_HISTORY: Final = LayerHistory("nixdock", "the image's own files")


class Layer(Protocol):
    """A layer whose bytes are settled; what images and outputs are made from."""

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed tar."""

    @property
    def digest(self) -> str:
        """The digest of the blob."""

    @property
    def size(self) -> int:
        """The size of the blob in bytes."""

    @property
    def media_type(self) -> str:
        """The media type of the blob."""

    @property
    def history(self) -> LayerHistory:
        """How the layer came about."""

    def open(self) -> BinaryIO:
        """Open the blob for reading."""


class LayerSource(Protocol):
    """Something that a layer's tar can be packed from."""

    @property
    def history(self) -> LayerHistory:
        """How the layer to be comes about."""

    @property
    def weight(self) -> int:
        """Roughly the bytes to read: what is heaviest is packed first."""

    def write_to(self, write: Write) -> None:
        """Write the tar."""

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and a function that writes exactly so many bytes."""


@dataclass(frozen=True, slots=True)
class BlobLayer:
    """A packed layer; `file` is None when only its digests were asked for."""

    diff_id: str
    digest: str
    size: int
    media_type: str
    history: LayerHistory
    file: Path | None = None

    def open(self) -> BinaryIO:
        """Open the blob; raise PackError if the bytes were not kept."""
        if self.file is None:
            raise PackError(f"the bytes of layer {self.digest} were not kept")
        return self.file.open("rb")


@dataclass(frozen=True, slots=True)
class FinishedLayer:
    """A layer that exists already, and is copied as it is.

    `copy` writes the blob, which has `size` bytes, and returns what was written; it raises
    ImageError if that is not what was promised. `expand` gives the same layer uncompressed.
    """

    diff_id: str
    size: int
    media_type: str
    history: LayerHistory
    copy: Callable[[Write], BlobLayer]
    expand: Callable[[], FinishedLayer]

    @property
    def weight(self) -> int:
        """The size of the blob in bytes."""
        return self.size


@dataclass(frozen=True, slots=True)
class StoreLayer:
    """Store paths, packed in the given order under the store's own directories.

    `root` is the directory that holds the store when it is not mounted at its own place;
    `nar_hashes`, in the order of `paths`, are what makes the layer nameable before it is packed.
    """

    paths: tuple[StorePath, ...]
    meta: MemberMeta = field(default_factory=MemberMeta)
    store_dir: str = DEFAULT_STORE_DIR
    root: str = ""
    nar_hashes: tuple[Hash | None, ...] = ()
    nar_size: int = 0
    perms: tuple[PermissionRule, ...] = ()

    @property
    def weight(self) -> int:
        """The sum of the NAR sizes, which is close to that of the files."""
        return self.nar_size

    @property
    def key(self) -> str | None:
        """The digest of the layer's recipe, or None when a NAR hash is missing.

        Two layers with the same key have the same bytes, whichever machine packs them.
        """
        hashes = [str(nar_hash) for nar_hash in self.nar_hashes if nar_hash is not None]
        if len(hashes) != len(self.paths):
            return None
        recipe: dict[str, object] = {
            "version": _RECIPE_VERSION,
            "store_dir": self.store_dir,
            "paths": [list(pair) for pair in zip(self.paths, hashes, strict=True)],
            "mtime": self.meta.mtime,
            "owner": [self.meta.uid, self.meta.gid, self.meta.uname, self.meta.gname],
        }
        if self.perms:
            recipe["perms"] = [rule.document() for rule in self.perms]
        canonical = orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    @property
    def history(self) -> LayerHistory:
        """A comment with the names of the first paths."""
        names = [path.name for path in self.paths[:_COMMENT_NAMES]]
        more = len(self.paths) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if more else "")
        return LayerHistory("nixdock", f"{_counted(len(self.paths), 'store path')}: {listed}")

    def entries(self) -> Iterator[Entry]:
        """Yield the members: the store's directories, then each store path's tree."""
        entries = self._plain_entries()
        return apply_rules(self.perms, entries) if self.perms else entries

    def _plain_entries(self) -> Iterator[Entry]:
        parts = self.store_dir.strip("/").split("/")
        for depth in range(len(parts)):
            name = "/" + "/".join(parts[: depth + 1]) + "/"
            yield Entry(os.fsencode(name), Kind.DIRECTORY, 0o755)
        for path in self.paths:
            source = f"{self.root}{path}"
            if not os.path.lexists(source):
                raise PackError(f"{source} does not exist; build or copy it into this store first")
            yield from walk(os.fsencode(source), os.fsencode(path))

    def write_to(self, write: Write) -> None:
        """Write the tar."""
        write_tar(self.entries(), Headers(self.meta), write)

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and its writer."""
        return _measure(self.entries, Headers(self.meta))


@dataclass(frozen=True, slots=True)
class TreeLayer:
    """A directory whose contents lie at `/` of the image.

    `directories` are the modes and attributes of directories, by their members' names, that have
    no mode of their own but 0755: those of a base image, which it must not lose.
    """

    directory: Path
    meta: MemberMeta
    history: LayerHistory = OWN_FILES_HISTORY
    weight: int = 0
    root_entry: bool = True
    perms: tuple[PermissionRule, ...] = ()
    directories: Mapping[bytes, tuple[int, Attributes]] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """Yield the members, with `/` itself, mode 0755, as the first of them or not at all."""
        entries = self._plain_entries()
        if self.directories:
            entries = map(self._as_below, entries)
        return apply_rules(self.perms, entries) if self.perms else entries

    def _as_below(self, entry: Entry) -> Entry:
        if entry.mode != 0o755 or entry.name not in self.directories:
            return entry
        mode, attributes = self.directories[entry.name]
        return entry._replace(mode=mode, attributes=attributes)

    def _plain_entries(self) -> Iterator[Entry]:
        # Whatever the mode of the directory in which the tree was prepared, `/` must be passable.
        if self.root_entry:
            yield Entry(b"/", Kind.DIRECTORY, 0o755)
        tree = walk(os.fsencode(self.directory), b"/")
        next(tree)
        yield from tree

    def write_to(self, write: Write) -> None:
        """Write the tar."""
        write_tar(self.entries(), Headers(self.meta), write)

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and its writer."""
        return _measure(self.entries, Headers(self.meta))


@dataclass(frozen=True, slots=True)
class MemberLayer:
    """Members that are all known already, each with its own attributes."""

    members: tuple[Entry, ...]
    meta: MemberMeta
    history: LayerHistory = OWN_FILES_HISTORY
    perms: tuple[PermissionRule, ...] = ()

    @property
    def weight(self) -> int:
        """The sum of the files' sizes."""
        return sum(entry.size for entry in self.members)

    def entries(self) -> Iterable[Entry]:
        """Return the members as the rules want them."""
        return apply_rules(self.perms, self.members)

    def write_to(self, write: Write) -> None:
        """Write the tar."""
        write_tar(self.entries(), Headers(self.meta), write)

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and its writer."""
        return _measure(self.entries, Headers(self.meta))


@dataclass(frozen=True, slots=True)
class TarLayer:
    """An uncompressed tar that exists already, and the diff_id that it must have."""

    file: Path
    diff_id: str
    history: LayerHistory

    @property
    def weight(self) -> int:
        """The size of the file in bytes."""
        return self.measure()[0]

    def write_to(self, write: Write) -> None:
        """Write the file's bytes; raise PackError when they don't have the promised digest."""
        digest = hashlib.sha256()
        try:
            with self.file.open("rb", buffering=0) as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    write(chunk)
        except OSError as error:
            raise PackError(f"can't read {self.file}: {error.strerror}") from None
        if f"sha256:{digest.hexdigest()}" != self.diff_id:
            raise PackError(
                f"{self.file} has the digest sha256:{digest.hexdigest()}, not {self.diff_id} as"
                " was recorded when it was made"
            )

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and its writer."""
        try:
            return self.file.stat().st_size, self.write_to
        except OSError as error:
            raise PackError(f"can't read {self.file}: {error.strerror}") from None


def _measure(
    entries: Callable[[], Iterable[Entry]], headers: Headers
) -> tuple[int, Callable[[Write], object]]:
    size = 0
    held: list[Entry] | None = []
    for entry in entries():
        size += headers.member_size(entry)
        if held is not None:
            held.append(entry)
            # A larger tree is walked twice rather than held in memory.
            held = held if len(held) < _MOST_HELD else None
    again = entries if held is None else held.copy
    return padded_size(size), lambda write: write_tar(again(), headers, write)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


Source = LayerSource | FinishedLayer
"""What an image's layers come from: each is packed, or copied."""


def paths_of(sources: Iterable[Source]) -> Iterator[StorePath]:
    """Yield the store paths of all store layers among `sources`."""
    return chain.from_iterable(s.paths for s in sources if isinstance(s, StoreLayer))
