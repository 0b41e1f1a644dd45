"""The files of a binary cache, wherever they are, and those of a cache in a directory."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from nixdock.errors import CacheError
from nixdock.nix.store_path import StorePath

__all__ = ["MOST_AT_ONCE", "CacheFiles", "DirectoryFiles", "cache_error"]

MOST_AT_ONCE: Final = 25
"""How many files are asked for at the same time: as many as Nix asks for (http-connections)."""


class CacheFiles(Protocol):
    """The files of a cache by their names, or by the URLs that narinfos give them.

    `path` is the store path that a file is about, for errors. All methods raise CacheError if the
    cache can't be read.
    """

    def read(self, name: str, most: int, path: StorePath | None = None) -> bytes | None:
        """Return a whole file, or None if there is none; more than `most` bytes are an error."""

    def open(self, name: str, path: StorePath) -> io.RawIOBase:
        """Open a file; that there is none is an error."""

    @property
    def is_authentic(self) -> bool:
        """Whether the files surely come from the cache, so that signatures are not all to go by."""

    @property
    def is_near(self) -> bool:
        """Whether a file comes so soon that it takes less to wait than to ask for more at once."""

    @property
    def requests(self) -> int:
        """How many requests were answered."""


def cache_error(url: str, path: StorePath | None, message: str, **fields: bool | int) -> CacheError:
    """Return an error about a cache, or about a store path in it."""
    subject = url if path is None else f"{url}: {path}"
    return CacheError(
        f"{subject}: {message}",
        place=url,
        path=path,
        status=fields.get("status"),
        is_broken=bool(fields.get("is_broken")),
    )


class DirectoryFiles:
    """The files of the cache `url` in a directory."""

    is_authentic = True
    is_near = True
    requests = 0

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory

    def read(self, name: str, most: int, path: StorePath | None = None) -> bytes | None:
        """Return a whole file, or None if there is none; more than `most` bytes are an error."""
        file = self._file(name, path)
        try:
            with io.BufferedReader(_open_regular(file)) as stream:
                data = stream.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(file, path, error) from None
        if len(data) > most:
            raise cache_error(self._url, path, f"{name} has more than {most} bytes")
        return data

    def open(self, name: str, path: StorePath) -> io.RawIOBase:
        """Open a file; that there is none is an error."""
        file = self._file(name, path)
        try:
            return _open_regular(file)
        except OSError as error:
            raise self._unreadable(file, path, error) from None

    def _file(self, name: str, path: StorePath | None) -> Path:
        text = unquote(name)
        if text.startswith("/") or ".." in text.split("/") or "\0" in text or "://" in text:
            raise cache_error(self._url, path, f"{name} is not the name of a file in the cache")
        return self._directory / text

    def _unreadable(self, file: Path, path: StorePath | None, error: OSError) -> CacheError:
        reason = error.strerror or str(error)
        return cache_error(self._url, path, f"can't read {file}: {reason}")


def _open_regular(file: Path) -> io.FileIO:
    """Open a file for reading; raise OSError if it is none, or not a regular one.

    Whoever opens a FIFO as usual waits for somebody to write.
    """
    stream = io.FileIO(file, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(file))
    return stream
