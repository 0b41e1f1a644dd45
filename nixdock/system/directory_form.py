"""What outputs that are directories consist of, and which directories may become one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from nixdock.errors import OutputError
from nixdock.system.presence import exists, is_directory, is_link
from nixdock.system.scratch import is_temporary

__all__ = ["DirectoryForm", "check_is_output", "check_replaceable", "own_files", "real_directory"]

# mkfs makes it at the top of a file system.
_RECOVERED: Final = "lost+found"
_NOTHING: Final = re.compile(r"(?!)")


class DirectoryForm(Struct, frozen=True):
    """The files of an output that is a directory.

    Each output has the file `marker`. The names of all else that an output may have, relative to
    the directory, match `own`. What leads to the other files is `last`, or else the marker: where
    files are replaced one by one, it is replaced when they are there.
    """

    marker: str
    own: re.Pattern[str] = _NOTHING
    last: str = ""

    @property
    def leading(self) -> str:
        """The file that is put in place last."""
        return self.last or self.marker

    def has(self, name: str) -> bool:
        """Tell whether a file or directory with that name is part of an output."""
        return name in {self.marker, self.leading} or self.own.fullmatch(name) is not None


def real_directory(target: Path) -> Path:
    """Return the directory to which a symlink leads, or else `target`, as a path with a name.

    Raise OutputError if the symlink leads to what nobody may write, such as a store path.
    """
    if target.name in {"", ".."}:
        return target.resolve()
    if not is_link(target) or not is_directory(target):
        return target
    real = target.resolve()
    if not real.stat().st_mode & 0o222:
        message = f"{target} leads to {real}, which is read-only; remove the link or name another"
        raise OutputError(message, path=target)
    return real


def check_is_output(target: Path, form: DirectoryForm) -> None:
    """Raise OutputError unless there is no `target`, or an empty directory or earlier output."""
    if not os.path.lexists(target):
        return
    if not is_directory(target) or is_link(target):
        message = f"{target} exists and is not a directory; remove it or name another"
        raise OutputError(message, path=target)
    if _names(target) and not exists(target / form.marker):
        message = (
            f"{target} exists and is not an earlier output (it has no {form.marker}); name another"
        )
        raise OutputError(message, path=target)


def check_replaceable(target: Path, form: DirectoryForm) -> None:
    """Raise what `check_is_output` raises, and OutputError if `target` has what is no output's."""
    check_is_output(target, form)
    for name in _walk(target):
        if not form.has(name):
            raise OutputError(
                f"{target} has {name}, which is not part of an earlier output and would be lost;"
                " move it away or name another",
                path=target,
            )


def own_files(directory: Path, form: DirectoryForm) -> set[str]:
    """Return the names of the files of an output, relative to its directory."""
    names = {name for name in _walk(directory) if form.has(name)}
    return {name for name in names if not _is_directory(directory / name)}


def _walk(directory: Path, above: str = "") -> Iterator[str]:
    """Give the names of what is below a directory, none of them below a symlink."""
    for name in _names(directory / above):
        relative = f"{above}{name}"
        yield relative
        if _is_directory(directory / relative):
            yield from _walk(directory, f"{relative}/")


def _names(directory: Path) -> list[str]:
    """Return what is in a directory, without what file systems and other processes need there."""
    try:
        found = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"can't read {directory}: {error.strerror}; name another"
        raise OutputError(message, path=directory) from None
    return [name for name in found if name != _RECOVERED and not is_temporary(name)]


def _is_directory(path: Path) -> bool:
    return is_directory(path) and not is_link(path)
