"""Files for blobs that have arrived; parts of blobs from a registry are kept for the next run."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from nixdock.errors import ImageError, OutputError
from nixdock.layers.hashed import CHUNK
from nixdock.network.body import Body
from nixdock.oci.digests import Hashing, hex_of
from nixdock.system.cache_directory import cache_directory
from nixdock.system.presence import is_directory, is_file
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import write_all

__all__ = ["MOST_KEPT", "Staging", "kept_staging", "partial_directory", "temporary_staging"]

MOST_KEPT: Final = 20 << 30
"""How many bytes of unfinished pulls may be kept in all when another pull begins."""

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging(Protocol):
    """A place for the files of blobs; several threads may add files at once."""

    def put(self, digest: str, body: Body) -> Path:
        """Store a blob and return its file, which stays until the staging ends.

        Raise ImageError if the bytes of `body` are not those of the blob.
        """


def partial_directory() -> Path | None:
    """Return the directory for parts of blobs in the user's cache, or None if there is none."""
    cache = cache_directory(os.environ)
    if cache is None:
        return None
    directory = cache / "partial"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = directory.lstat()
    except OSError:
        return None
    own = state.st_uid == os.geteuid() and is_directory(directory) and not directory.is_symlink()
    return directory if own and os.access(directory, os.W_OK | os.X_OK) else None


@contextmanager
def temporary_staging(target: Path) -> Iterator[Staging]:
    """Yield a staging beside `target` whose files are removed in the end."""
    with temporary_directory(target) as directory:
        yield _Temporary(directory)


@contextmanager
def kept_staging(directory: Path) -> Iterator[Staging]:
    """Yield a staging that goes on with the parts in `directory`.

    If the block ends without an error, they are removed; else they stay for the next time.
    """
    _trim(directory, MOST_KEPT)
    with temporary_directory(directory / "pull") as links:
        staging = _Kept(directory, links)
        yield staging
        staging.forget()


class _Temporary:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, digest: str, body: Body) -> Path:
        file = self._directory / hex_of(digest)
        descriptor = _opened(file)
        try:
            _fill(descriptor, file, digest, body)
        finally:
            os.close(descriptor)
        return file


class _Kept:
    """Parts in a directory, each named by its digest and locked while it grows.

    A complete blob is linked into `links`, so that another run that also needs it may remove it.
    """

    def __init__(self, directory: Path, links: Path) -> None:
        self._directory = directory
        self._links = links
        self._finished: list[Path] = []

    def put(self, digest: str, body: Body) -> Path:
        part, file = self._directory / hex_of(digest), self._links / hex_of(digest)
        descriptor = _locked(part)
        try:
            try:
                _fill(descriptor, part, digest, body)
            except ImageError:
                part.unlink(missing_ok=True)
                raise
            except OutputError as error:
                remedy = "make room there, or set XDG_CACHE_HOME to a directory with more"
                raise OutputError(f"{error}; {remedy}", path=part) from None
            if not _link(part, file, descriptor):
                _copy_verified(descriptor, file, digest, body.size)
        finally:
            os.close(descriptor)
        self._finished.append(part)
        return file

    def forget(self) -> None:
        """Remove the parts that were needed, except those that another pull uses now."""
        for part in self._finished:
            _remove_unused(part)


def _link(part: Path, file: Path, descriptor: int) -> bool:
    """Give the open file at `part` the name `file`, too; tell whether that was possible.

    Not every file system has hard links; and without locks, another file may be there now.
    """
    try:
        file.hardlink_to(part)
        if os.path.samestat(file.lstat(), os.fstat(descriptor)):
            return True
        file.unlink()
    except OSError:
        pass
    return False


def _copy_verified(descriptor: int, file: Path, digest: str, size: int) -> None:
    def reopened() -> io.FileIO:
        stream = io.FileIO(os.dup(descriptor))
        stream.seek(0)
        return stream

    copy = _opened(file)
    try:
        _fill(copy, file, digest, Body(size, reopened))
    finally:
        os.close(copy)


def _opened(file: Path) -> int:
    try:
        return os.open(file, _OPEN, 0o666)
    except OSError as error:
        raise OutputError(f"can't write {file}: {error.strerror}", path=file) from None


def _locked(part: Path) -> int:
    """Open a part and lock it; wait for a pull that has locked it."""
    while True:
        descriptor = _opened(part)
        # On a file system without locks, pulls of the same image at the same time are not safe,
        # but what they write is verified.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The other pull has removed it if it needed it no longer.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), part.lstat()):
                return descriptor
        os.close(descriptor)


def _fill(descriptor: int, file: Path, digest: str, body: Body) -> None:
    """Write what a file lacks of a blob, after hashing what it has; a wrong part is dropped."""
    hashing = Hashing()
    kept = _hash(descriptor, hashing.write, body.size)
    if kept:
        if kept < body.size:
            _copy(descriptor, file, hashing, body, kept)
        if hashing.size == body.size and hashing.digest == digest:
            return
        hashing = Hashing()
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    _copy(descriptor, file, hashing, body, 0)
    if hashing.size != body.size:
        more = "more than " if hashing.size > body.size else ""
        size = min(hashing.size, body.size)
        raise ImageError(
            f"the blob {digest} has {more}{size} bytes, but should have {body.size}", digest=digest
        )
    if hashing.digest != digest:
        raise ImageError(
            f"the blob {digest} is damaged: its digest is {hashing.digest}", digest=hashing.digest
        )


def _hash(descriptor: int, write: Callable[[bytes], None], most: int) -> int:
    """Hash what a file has, and return its size; 0 if it is too large."""
    size = os.fstat(descriptor).st_size
    if size > most:
        return 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    while chunk := os.read(descriptor, CHUNK):
        write(chunk)
    return size


def _copy(descriptor: int, file: Path, hashing: Hashing, body: Body, start: int) -> None:
    """Write the bytes of a blob from `start` on, but not many more than it should have."""
    with body.rest(start).open() as stream:
        while hashing.size <= body.size and (chunk := stream.read(CHUNK)):
            try:
                write_all(descriptor, chunk)
            except OSError as error:
                raise OutputError(f"can't write {file}: {error.strerror}", path=file) from None
            hashing.write(chunk)


def _trim(directory: Path, most: int) -> None:
    """Remove the oldest parts that no pull is using until they have at most `most` bytes."""
    parts = []
    for part in directory.iterdir():
        with suppress(OSError):
            state = part.lstat()
            if is_file(part) and not part.is_symlink() and state.st_uid == os.geteuid():
                parts.append((state.st_mtime_ns, state.st_size, part))
    size = sum(each for _, each, _ in parts)
    for _, each, part in sorted(parts):
        if size <= most:
            return
        if _remove_unused(part):
            size -= each


def _remove_unused(part: Path) -> bool:
    """Remove a part that no pull has locked; tell whether that was done."""
    with suppress(OSError):
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                # A file system without locks.
                pass
            # Before it was locked, another pull may have removed it and begun a new one.
            if os.path.samestat(os.fstat(descriptor), part.lstat()):
                part.unlink()
                return True
        finally:
            os.close(descriptor)
    return False
