"""Small files of the user that only save work: a bounded number of them, by name.

Several threads and processes may use them at once: a file is replaced as a whole, and the last one
counts. Whatever fails, the files are just not there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["CachedFiles"]


class CachedFiles:
    """The files in a directory, at most `most` of them; without a directory, there are none."""

    def __init__(self, directory: Path | None, most: int) -> None:
        self._directory = directory
        self._most = most

    def read(self, name: str, most: int) -> bytes | None:
        """Return the first `most` bytes of a file, or None if it can't be read."""
        if self._directory is None:
            return None
        with suppress(OSError, ValueError), (self._directory / name).open("rb") as file:
            return file.read(most)
        return None

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files, each a name and its content; drop the oldest if there are too many then."""
        if self._directory is None:
            return
        with suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, data in files:
                part = self._directory / f".{name}.{os.getpid()}.{threading.get_ident()}"
                try:
                    part.write_bytes(data)
                    part.replace(self._directory / name)
                except BaseException:
                    # On a full disk, each process would leave one.
                    part.unlink(missing_ok=True)
                    raise
            self._drop_oldest(self._directory)

    def _drop_oldest(self, directory: Path) -> None:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries]
        if len(names) <= self._most:
            return
        files = [directory / name for name in names]
        times = sorted((file.lstat().st_mtime_ns, file) for file in files)
        # A quarter at once, so that this is rare; parts of dead processes are the oldest ones.
        for _, file in times[: len(names) - self._most * 3 // 4]:
            file.unlink(missing_ok=True)
