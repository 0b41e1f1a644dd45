"""Read the Nix store in an image's layers: its store paths and its database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from msgspec import Struct, field

from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import CHUNK
from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.read.contents import DATABASE, size_in_nar
from nixdock.read.nix_database import Database, read_database
from nixdock.read.untrusted_sqlite import OtherDatabaseError
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import OPAQUE, WHITEOUT

__all__ = ["ImageStore", "TarOpener", "read_image_store"]

_DB_PLACE: Final = f"/{DATABASE.decode()}"
# The write-ahead log has the latest changes of the database.
_DB_FILES: Final = (DATABASE, DATABASE + b"-wal")
_MOST_DB: Final = 1 << 30


class TarOpener(Protocol):
    """A layer whose tar can be opened several times."""

    @property
    def subject(self) -> str:
        """What error messages call the layer."""

    def open_tar(self) -> BinaryIO:
        """Open the uncompressed tar."""


class ImageStore(Struct, frozen=True):
    """A Nix store in an image.

    `paths` are in the merged layers, and no layer deleted a part of them; an upper layer deleted
    files in the `damaged` ones. `registered` are the paths in the Nix database, or None if there is
    no database. `others` are the numbers of the layers, from 0 at the bottom, that have or remove
    files somewhere else. `nar_sizes` are the sizes of the NARs in the layer that has most of each.
    """

    paths: frozenset[StorePath]
    damaged: frozenset[StorePath] = frozenset()
    registered: tuple[PathInfo, ...] | None = None
    derivation_outputs: Mapping[StorePath, Mapping[str, str]] = field(default_factory=dict)
    others: frozenset[int] = frozenset()
    nar_sizes: Mapping[StorePath, int] = field(default_factory=dict)

    def has_whole(self, info: PathInfo) -> bool:
        """Tell whether the image has a path, and not just a part of it that was copied there.

        Without the size of its NAR, it counts as whole.
        """
        return info.path in self.paths and (
            self.nar_sizes.get(info.path, info.nar_size) >= info.nar_size
        )


class _Changes(Struct):
    """The changes that one layer makes to the store.

    `added` are the sizes of the NARs of store paths, as far as they are in the layer. `removed`
    files and `emptied` directories are those of lower layers, wherever in the tar the whiteouts
    are.
    """

    store: bytes
    added: dict[bytes, int] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)
    emptied: set[bytes] = field(default_factory=set)
    databases: dict[bytes, Member] = field(default_factory=dict)
    has_others: bool = False
    linked: dict[bytes, int] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        name = normalised(member.name)
        # The database is beside the store, as in /nix.
        if member.kind != Kind.DIRECTORY and not _is_below(name, self.store.split(b"/")[0]):
            self.has_others = True
        directory, _, base = name.rpartition(b"/")
        if base == OPAQUE:
            self.emptied.add(directory)
        elif base.startswith(WHITEOUT):
            target = base.removeprefix(WHITEOUT)
            self.removed.add(directory + b"/" + target if directory else target)
        else:
            self._add_file(name, member)

    def _add_file(self, name: bytes, member: Member) -> None:
        inside = name.removeprefix(self.store + b"/")
        if inside != name:
            path, _, below = inside.partition(b"/")
            size = size_in_nar(member, below, self.linked)
            self.added[path] = self.added.get(path, 0) + size
        elif name in _DB_FILES and member.kind == Kind.FILE:
            self.databases[name] = member
        if member.kind != Kind.DIRECTORY and (
            _is_below(self.store, name) or _is_below(DATABASE, name)
        ):
            # A file that replaces a directory hides the directory's contents in lower layers.
            self.removed.add(name)


class _Merged(Struct):
    """The store in the layers that were merged so far."""

    store: bytes
    paths: dict[bytes, int] = field(default_factory=dict)
    damaged: set[bytes] = field(default_factory=set)
    databases: dict[bytes, tuple[TarOpener, Member]] = field(default_factory=dict)

    def apply(self, changes: _Changes, layer: TarOpener) -> None:
        for name in changes.removed:
            self._remove(name)
        for directory in changes.emptied:
            self._empty(directory)
        for path, size in changes.added.items():
            self.paths[path] = max(size, self.paths.get(path, 0))
        for name, member in changes.databases.items():
            if name == DATABASE:
                # A new database replaces the old one together with its log.
                self.databases.clear()
            self.databases[name] = (layer, member)

    def _remove(self, name: bytes) -> None:
        self._remove_paths(name)
        for file in _DB_FILES:
            if _is_below(file, name):
                self.databases.pop(file, None)

    def _empty(self, directory: bytes) -> None:
        self._remove_paths(directory)
        for file in _DB_FILES:
            if file != directory and _is_below(file, directory):
                self.databases.pop(file, None)

    def _remove_paths(self, name: bytes) -> None:
        """Remove the store paths that `name` contains; mark the one that contains it as damaged."""
        if _is_below(self.store, name):
            self.paths.clear()
            self.damaged.clear()
        inside = name.removeprefix(self.store + b"/")
        if inside == name:
            return
        path, _, below = inside.partition(b"/")
        if below:
            self.damaged |= {path} & self.paths.keys()
        else:
            self.paths.pop(path, None)
            self.damaged.discard(path)


def read_image_store(
    layers: Sequence[TarOpener],
    store_dir: str = DEFAULT_STORE_DIR,
    pass_over: Callable[[str], object] | None = None,
) -> ImageStore:
    """Return the store in the merged `layers`, bottom to top.

    Raise ImageError if a layer is malformed or the Nix database can't be read. If `pass_over` is
    given, it gets the message about a database of another format, which then counts as none.
    """
    store = normalised(store_dir.encode())
    merged = _Merged(store)
    # A layer that is in an image several times is read once.
    known: list[tuple[TarOpener, _Changes]] = []
    others = set()
    for number, layer in enumerate(layers):
        changes = next((changes for earlier, changes in known if earlier == layer), None)
        if changes is None:
            changes = _changes(store, layer)
            known.append((layer, changes))
        merged.apply(changes, layer)
        if changes.has_others:
            others.add(number)
    registered: tuple[PathInfo, ...] | None = None
    outputs: dict[StorePath, dict[str, str]] = {}
    if DATABASE in merged.databases:
        try:
            registered, outputs = _read_database(merged.databases)
        except OtherDatabaseError as error:
            if pass_over is None:
                raise ImageError(str(error), place=_DB_PLACE) from None
            pass_over(str(error))
    return ImageStore(
        paths=frozenset(_store_paths(merged.paths.keys() - merged.damaged, store_dir)),
        damaged=frozenset(_store_paths(merged.damaged, store_dir)),
        registered=registered,
        derivation_outputs=outputs,
        others=frozenset(others),
        nar_sizes={
            path: merged.paths[name] for path, name in _store_paths(merged.paths, store_dir).items()
        },
    )


def _changes(store: bytes, layer: TarOpener) -> _Changes:
    changes = _Changes(store)
    with layer.open_tar() as stream:
        for member in TarReader(stream, layer.subject, sparse=True):
            try:
                changes.add(member)
            except ImageError as error:
                raise ImageError(
                    f"{layer.subject}: a member has an invalid name: {error}"
                ) from None
    return changes


def _is_below(name: bytes, directory: bytes) -> bool:
    """Tell whether `name` is `directory` or a file below it; the name of the root is empty."""
    return not directory or name == directory or name.startswith(directory + b"/")


def _store_paths(names: Iterable[bytes], store_dir: str) -> dict[StorePath, bytes]:
    """Return the store paths with these names; a store has a few others, such as .links."""
    paths = {}
    for name in names:
        try:
            paths[StorePath.parse(f"{store_dir}/{name.decode('ascii')}")] = name
        except (InputError, UnicodeDecodeError):
            continue
    return paths


def _read_database(files: dict[bytes, tuple[TarOpener, Member]]) -> Database:
    with temporary_directory() as temporary:
        for name, (layer, member) in files.items():
            _extract(layer, member, temporary / Path(name.decode()).name)
        try:
            return read_database(temporary / "db.sqlite", _DB_PLACE)
        except (ImageError, OtherDatabaseError) as error:
            layer, _ = files[DATABASE]
            error.args = (f"{layer.subject}: {error}",)
            raise


def _database_of(layer: TarOpener) -> str:
    return f"{layer.subject}: {_DB_PLACE}"


def _extract(layer: TarOpener, member: Member, target: Path) -> None:
    if member.size > _MOST_DB:
        raise ImageError(
            f"{_database_of(layer)} has {member.size} bytes, but may have at most {_MOST_DB}",
            place=_DB_PLACE,
        )
    if member.extents is not None:
        raise ImageError(f"{_database_of(layer)} is a sparse file", place=_DB_PLACE)
    with layer.open_tar() as stream, FileWriter(target) as out:
        left = member.offset
        while left:
            left -= len(_read_some(stream, left, layer))
        left = member.size
        while left:
            chunk = _read_some(stream, left, layer)
            out.write(chunk)
            left -= len(chunk)
        # Read to the end, because that verifies the layer.
        while stream.read(CHUNK):
            pass


def _read_some(stream: BinaryIO, most: int, layer: TarOpener) -> bytes:
    """Read at least one byte and at most `most`; raise ImageError at the end of the stream."""
    chunk = stream.read(min(most, CHUNK))
    if not chunk:
        raise ImageError(
            f"{_database_of(layer)} is truncated: the layer ends too early", place=_DB_PLACE
        )
    return chunk
