"""The Nix store that an image's layers hold: its paths, and what its database says of them."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from nixdock.errors import ImageError, InputError
from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import OPAQUE, WHITEOUT

__all__ = ["ImageStore", "TarOpener", "read_image_store"]

_DB: Final = b"nix/var/nix/db/db.sqlite"
# What is still in the write-ahead log belongs to the database.
_DB_FILES: Final = (_DB, _DB + b"-wal")
_MOST_DB: Final = 1 << 30
_CHUNK: Final = 1 << 20
# Enough for tens of millions of rows, counted in thousands of SQLite's virtual instructions.
_STEPS: Final = 1000
_MOST_STEPS: Final = 1_000_000


_Registered = tuple[tuple[PathInfo, ...], dict[StorePath, dict[str, str]]]


class TarOpener(Protocol):
    """A layer whose tar can be opened as often as it takes."""

    def open_tar(self) -> BinaryIO:
        """Open the uncompressed tar."""


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A store in an image.

    `paths` are whole in the merged layers, `damaged` ones lack what an upper layer deleted.
    `registered` is what the database says, None where there is no database.
    """

    paths: frozenset[StorePath]
    damaged: frozenset[StorePath] = frozenset()
    registered: tuple[PathInfo, ...] | None = None
    derivation_outputs: Mapping[StorePath, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class _Changes:
    """What one layer does to a store: whiteouts act on lower layers, whatever their order."""

    store: bytes
    added: set[bytes] = field(default_factory=set)
    removed: set[bytes] = field(default_factory=set)
    emptied: set[bytes] = field(default_factory=set)
    databases: dict[bytes, Member] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        name = normalised(member.name)
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
            self.added.add(inside.split(b"/", 1)[0])
        elif name in _DB_FILES and member.kind == Kind.FILE:
            self.databases[name] = member
        if member.kind != Kind.DIRECTORY and (_is_below(self.store, name) or _is_below(_DB, name)):
            # A file in the place of a directory hides what lower layers have below it.
            self.removed.add(name)


@dataclass
class _Merged:
    """The store as it is after the layers so far."""

    store: bytes
    paths: set[bytes] = field(default_factory=set)
    damaged: set[bytes] = field(default_factory=set)
    databases: dict[bytes, tuple[TarOpener, Member]] = field(default_factory=dict)

    def apply(self, changes: _Changes, layer: TarOpener) -> None:
        for name in changes.removed:
            self._remove(name)
        for directory in changes.emptied:
            self._empty(directory)
        self.paths |= changes.added
        for name, member in changes.databases.items():
            if name == _DB:
                # A new database has nothing to do with the log of an old one.
                self.databases.clear()
            self.databases[name] = (layer, member)

    def _remove(self, name: bytes) -> None:
        if _is_below(self.store, name):
            self._forget_all()
        inside = name.removeprefix(self.store + b"/")
        if inside != name:
            path, _, deeper = inside.partition(b"/")
            if deeper:
                self.damaged |= {path} & self.paths
            else:
                self._forget(path)
        self._drop_databases(name)

    def _empty(self, directory: bytes) -> None:
        if _is_below(self.store, directory):
            self._forget_all()
        inside = directory.removeprefix(self.store + b"/")
        if inside != directory:
            path, _, deeper = inside.partition(b"/")
            if deeper:
                self.damaged |= {path} & self.paths
            else:
                self._forget(path)
        for name in _DB_FILES:
            if name != directory and _is_below(name, directory):
                self.databases.pop(name, None)

    def _drop_databases(self, name: bytes) -> None:
        for file in _DB_FILES:
            if _is_below(file, name):
                self.databases.pop(file, None)

    def _forget(self, path: bytes) -> None:
        self.paths.discard(path)
        self.damaged.discard(path)

    def _forget_all(self) -> None:
        self.paths.clear()
        self.damaged.clear()


def read_image_store(layers: Sequence[TarOpener], store_dir: str = DEFAULT_STORE_DIR) -> ImageStore:
    """Return the store that `layers`, bottom to top, make together.

    Whiteouts and opaque directories count. Raise ImageError for a malformed layer, and for a
    database that can't be read.
    """
    store = normalised(store_dir.encode())
    merged = _Merged(store)
    # A layer that stands many times in an image is read once.
    known: list[tuple[TarOpener, _Changes]] = []
    for layer in layers:
        changes = next((changes for same, changes in known if same == layer), None)
        if changes is None:
            changes = _changes(store, layer)
            known.append((layer, changes))
        merged.apply(changes, layer)
    registered: tuple[PathInfo, ...] | None = None
    outputs: dict[StorePath, dict[str, str]] = {}
    if _DB in merged.databases:
        registered, outputs = _read_database(merged.databases)
    return ImageStore(
        paths=_store_paths(merged.paths - merged.damaged, store_dir),
        damaged=_store_paths(merged.damaged, store_dir),
        registered=registered,
        derivation_outputs=outputs,
    )


def _changes(store: bytes, layer: TarOpener) -> _Changes:
    changes = _Changes(store)
    with layer.open_tar() as stream:
        for member in TarReader(stream):
            changes.add(member)
    return changes


def _is_below(name: bytes, directory: bytes) -> bool:
    """Tell whether `name` is `directory` or something below it; the root is empty."""
    return not directory or name == directory or name.startswith(directory + b"/")


def _store_paths(names: Iterable[bytes], store_dir: str) -> frozenset[StorePath]:
    """Return the names that are store paths; a store holds a few others, such as .links."""
    paths = set()
    for name in names:
        try:
            paths.add(StorePath.parse(f"{store_dir}/{name.decode('ascii')}"))
        except (InputError, UnicodeDecodeError):
            continue
    return frozenset(paths)


def _read_database(files: dict[bytes, tuple[TarOpener, Member]]) -> _Registered:
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        for name, (layer, member) in files.items():
            _extract(layer, member, Path(temporary) / Path(name.decode()).name)
        try:
            with closing(sqlite3.connect(Path(temporary) / "db.sqlite")) as connection:
                _guard(connection)
                return tuple(_rows(connection)), _outputs(connection)
        except (sqlite3.Error, InputError, TypeError, ValueError) as error:
            raise ImageError(f"/{_DB.decode()} is not a Nix database: {error}") from None


def _outputs(connection: sqlite3.Connection) -> dict[StorePath, dict[str, str]]:
    """Return the outputs of each derivation, none included."""
    paths = {
        number: StorePath.parse(path)
        for number, path in connection.execute("select id, path from ValidPaths")
        if path.endswith(".drv")
    }
    outputs: dict[StorePath, dict[str, str]] = {path: {} for path in paths.values()}
    for number, name, path in connection.execute("select drv, id, path from DerivationOutputs"):
        if number in paths:
            outputs[paths[number]][str(name)] = StorePath.parse(path)
    return outputs


def _guard(connection: sqlite3.Connection) -> None:
    """Keep a hostile database from running a program of its own, and from running for ever."""
    connection.execute("pragma trusted_schema = off")
    kinds = connection.execute(
        "select type from sqlite_master where name in ('ValidPaths', 'Refs', 'DerivationOutputs')"
    ).fetchall()
    if kinds != [("table",)] * 3:
        raise ImageError(f"/{_DB.decode()} is not a Nix database: it lacks Nix's tables")
    left = _MOST_STEPS

    def count() -> int:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(count, _STEPS)


def _extract(layer: TarOpener, member: Member, target: Path) -> None:
    if member.size > _MOST_DB:
        raise ImageError(f"/{_DB.decode()} has {member.size} bytes, more than {_MOST_DB}")
    with layer.open_tar() as stream, target.open("wb") as out:
        left = member.offset
        while left:
            left -= len(_some(stream, left))
        left = member.size
        while left:
            chunk = _some(stream, left)
            out.write(chunk)
            left -= len(chunk)
        # Reading to the end is what verifies the layer.
        while stream.read(_CHUNK):
            pass


def _some(stream: BinaryIO, most: int) -> bytes:
    chunk = stream.read(min(most, _CHUNK))
    if not chunk:
        raise ImageError("a layer ends in the middle of its database")
    return chunk


def _rows(connection: sqlite3.Connection) -> Iterable[PathInfo]:
    paths: dict[int, StorePath] = {}
    values = {}
    query = "select id, path, hash, narSize, deriver from ValidPaths"
    for number, path, nar_hash, nar_size, deriver in connection.execute(query):
        paths[number] = StorePath.parse(path)
        if not isinstance(nar_size, int) or nar_size < 0:
            raise ImageError(f"/{_DB.decode()}: the NAR size of {path} is {nar_size!r}")
        values[number] = (nar_size, Hash.parse(nar_hash), None if deriver is None else str(deriver))
    references: dict[int, set[StorePath]] = {number: set() for number in paths}
    for referrer, reference in connection.execute("select referrer, reference from Refs"):
        if referrer not in paths or reference not in paths:
            raise ImageError(f"/{_DB.decode()}: a reference leads to no path")
        references[referrer].add(paths[reference])
    for number, path in paths.items():
        nar_size, digest, deriver = values[number]
        yield PathInfo(path, nar_size, digest, tuple(sorted(references[number])), deriver)
