"""OCI layouts in directories: new ones, and those to which something is added in place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from nixdock.errors import OutputError
from nixdock.oci.layout import BLOBS, DOCKER_MANIFEST, INDEX, LAYOUT, MARKER
from nixdock.system.atomic import putting, whole_directory
from nixdock.system.directory_form import check_is_output
from nixdock.system.directory_lock import directory_lock
from nixdock.system.presence import exists, is_directory
from nixdock.system.renaming import put_files, sync, sync_tree
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter
from nixdock.transfer.extended_index import extended_index
from nixdock.transfer.file_content import FileContent

__all__ = ["LayoutOutput", "give_name", "grown_layout", "replaced_layout"]

_EXISTS: Final = {errno.EEXIST, errno.ENOTEMPTY}


class LayoutOutput(Protocol):
    """A layout that is written: files for its blobs may be in the directory `fresh` already."""

    @property
    def fresh(self) -> Path:
        """The directory, which has a directory for blobs."""

    def put(self, content: FileContent) -> None:
        """Write all of an image or an index; call it last."""


@contextmanager
def replaced_layout(target: Path) -> Iterator[LayoutOutput]:
    """Yield what becomes the layout `target` in the end, in place of an earlier one.

    Raise what `whole_directory` raises.
    """
    with whole_directory(target, LAYOUT) as fresh:
        (fresh / BLOBS).mkdir(parents=True)
        yield _Replaced(fresh)


@contextmanager
def grown_layout(target: Path) -> Iterator[LayoutOutput]:
    """Yield what is added to the layout `target`, which is made if it is not there.

    All else in it stays. At every moment, its index has all of its blobs: they are renamed into it
    first, the index is replaced last, and other processes that add something wait meanwhile. Raise
    OutputError if `target` is not a layout or can't be written; nothing new is then in it.
    """
    _check_is_layout(target)
    inside = is_directory(target)
    with temporary_directory(target / INDEX if inside else target) as beside:
        fresh = beside / target.name
        (fresh / BLOBS).mkdir(parents=True)
        yield _Grown(fresh, target, target.stat() if inside else None)


class _Replaced(Struct, frozen=True):
    fresh: Path

    def put(self, content: FileContent) -> None:
        _fill(self.fresh, content)


class _Grown(Struct, frozen=True):
    """What is added to `target`; `earlier` is the state of that directory, if there was one."""

    fresh: Path
    target: Path
    earlier: os.stat_result | None

    def put(self, content: FileContent) -> None:
        self._check_is_same()
        _fill(self.fresh, content)
        with putting(self.target):
            sync_tree(self.fresh)
            if self.earlier is None and self._is_put_as_new():
                return
        with directory_lock(self.target, writing=True):
            self._check_is_same()
            _check_is_layout(self.target)
            self._add(content)

    def _is_put_as_new(self) -> bool:
        """Give the layout its name, unless another process has made one."""
        try:
            self.fresh.rename(self.target)
        except OSError as error:
            if error.errno in _EXISTS:
                return False
            raise
        sync(self.target.parent)
        return True

    def _add(self, content: FileContent) -> None:
        extended = extended_index(self.target, content)
        _write(self.fresh / INDEX, extended.data)
        if exists(self.target / MARKER):
            (self.fresh / MARKER).unlink()
        with putting(self.target):
            sync(self.fresh / INDEX)
            put_files(self.fresh, self.target, INDEX)
        for name in extended.unneeded:
            with suppress(OSError):
                (self.target / name).unlink()

    def _check_is_same(self) -> None:
        with suppress(OSError):
            if self.earlier is None or os.path.samestat(self.earlier, self.target.stat()):
                return
        message = f"{self.target} was replaced by another process meanwhile; run the command again"
        raise OutputError(message, path=self.target)


def give_name(file: Path, name: Path) -> None:
    """Give a file another name, or copy it where that is impossible."""
    try:
        name.hardlink_to(file)
    except OSError:
        try:
            shutil.copyfile(file, name)
        except OSError as error:
            raise OutputError(f"can't write {name}: {error.strerror}", path=name) from None


def _check_is_layout(target: Path) -> None:
    check_is_output(target, LAYOUT)
    if os.path.lexists(target / DOCKER_MANIFEST):
        raise OutputError(
            f"{target} has {DOCKER_MANIFEST}, which lists all images for Docker and would lack the"
            " one that is added; remove it or name another",
            path=target,
        )


def _fill(directory: Path, content: FileContent) -> None:
    """Write all files of a layout that are not there."""
    for name, file in content.blobs().items():
        if file != directory / name:
            give_name(file, directory / name)
    for name, data in content.documents().items():
        _write(directory / name, data)


def _write(file: Path, data: bytes) -> None:
    with FileWriter(file) as writer:
        writer.write(data)
