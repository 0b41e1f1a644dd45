"""The files of `contents` that are in no local store, in a temporary one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from nixdock.errors import InputError, MissingPathsError
from nixdock.nix.store_path import StorePath
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import is_in_store
from nixdock.stores.store import Store
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import writing
from nixdock.tar.header import Entry
from nixdock.tar.kinds import Kind

__all__ = ["FetchedContents", "contents_of", "fetched_contents", "store_path_of"]

_PIECE: Final = 1 << 20


class FetchedContents:
    """A temporary store below `root`, which gets the paths of `source` that are reached.

    With `whole`, files have their contents; otherwise only their names, which suffices for links.
    """

    def __init__(self, root: Path, source: Store, store_dir: str, *, whole: bool) -> None:
        self.root = root
        self._source = source
        self._store_dir = store_dir
        self._whole = whole
        self._added: set[StorePath] = set()

    def reach(self, file: str) -> None:
        """Let the store path of a file, which may be anywhere, be there if a store has it."""
        path = store_path_of(file, self._store_dir)
        # To copy a link, only a directory that it leads to is needed.
        if path is None or (self._whole and not self._leads_to_directory(path, file)):
            return
        # A link may lead nowhere.
        with suppress(MissingPathsError):
            self.add(path)

    def add(self, path: StorePath) -> None:
        """Add a store path, once; raise MissingPathsError if no store has it."""
        if path in self._added:
            return
        self._added.add(path)
        target = Path(f"{self.root}{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        entries = self._source.entries if self._whole else self._source.listing
        directories = [*_written(entries(path), self.root, whole=self._whole)]
        for directory, mode in reversed(directories):
            directory.chmod(mode)

    def _leads_to_directory(self, path: StorePath, file: str) -> bool:
        wanted = os.fsencode(file.rstrip("/"))
        try:
            for entry in self._source.listing(path):
                name = entry.name.rstrip(b"/")
                if name == wanted or (entry.target and wanted.startswith(name + b"/")):
                    return entry.kind != Kind.FILE
        except MissingPathsError:
            pass
        return False


def fetched_contents(
    spec: ImageSpec, source: Store, stack: ExitStack
) -> tuple[ImageSpec, FetchedContents | None]:
    """Return the spec with its contents in a temporary store, if the local one lacks some.

    Closing the stack removes it. Raise MissingPathsError if no store has one of the contents.
    """
    store_dir = spec.store.directory
    contents = [each for each in spec.contents if is_in_store(each, store_dir)]
    paths = [path for each in contents if (path := store_path_of(each, store_dir)) is not None]
    if not any(map(source.lacks, paths)):
        return spec, None
    root = stack.enter_context(temporary_directory()).resolve() / "root"
    fetched = FetchedContents(root, source, store_dir, whole=spec.copy_contents)
    for path in paths:
        fetched.add(path)
    store = msgspec.structs.replace(spec.store, root=str(root))
    return msgspec.structs.replace(spec, store=store), fetched


def store_path_of(file: str, store_dir: str) -> StorePath | None:
    """Return the store path that a file lies in, or None if it is not in the store."""
    if not is_in_store(file, store_dir):
        return None
    name = file.removeprefix(f"{store_dir}/").partition("/")[0]
    try:
        return StorePath.parse(f"{store_dir}/{name}", store_dir)
    except InputError:
        return None


def _written(entries: Iterator[Entry], root: Path, *, whole: bool) -> Iterator[tuple[Path, int]]:
    """Write entries below `root`; yield the directories and the modes that they are to get."""
    for entry in entries:
        file = root / os.fsdecode(entry.name.strip(b"/"))
        if entry.kind == Kind.DIRECTORY:
            file.mkdir()
            yield file, entry.mode
        elif entry.kind == Kind.SYMLINK:
            file.symlink_to(os.fsdecode(entry.target))
        else:
            # Without contents, no file is like another one.
            data = contents_of(entry) if whole else iter([entry.name])
            with writing(file), file.open("xb") as stream:
                for piece in data:
                    stream.write(piece)
            file.chmod(entry.mode)


def contents_of(entry: Entry) -> Iterator[bytes]:
    """Yield the contents of a file, in pieces."""
    if entry.content is None:
        with Path(os.fsdecode(entry.source)).open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
        return
    while data := entry.content.read(_PIECE):
        yield bytes(data)
