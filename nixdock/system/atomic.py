"""Outputs that appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nixdock.errors import OutputError
from nixdock.system.renaming import put_directory, sync, sync_tree
from nixdock.system.scratch import is_stream, temporary_directory
from nixdock.system.writers import FileWriter, StreamWriter, descriptor_of

__all__ = ["putting", "whole_directory", "whole_file"]


@contextmanager
def whole_file(target: Path, mode: int = 0o666) -> Iterator[StreamWriter]:
    """Yield a writer whose file becomes `target` if the block ends without an error.

    The file is on disk before it gets its name, and has `mode`, which the umask may restrict. A
    descriptor such as /dev/stdout, a device or a FIFO is written to, not replaced. Raise
    OutputError if `target` is a directory or can't be written.
    """
    target = _with_name(target)
    descriptor = descriptor_of(target)
    if descriptor is not None:
        yield StreamWriter(descriptor, str(target), target)
        return
    if target.is_dir() and not target.is_symlink():
        raise OutputError(f"{target} is a directory; name a file", path=target)
    if is_stream(target):
        with FileWriter(target) as writer:
            yield writer
        return
    with temporary_directory(target) as beside, FileWriter(beside / target.name, mode) as writer:
        yield writer
        with putting(target):
            sync(writer.file)
            writer.file.replace(target)
            sync(target.parent)


@contextmanager
def whole_directory(target: Path, marker: str) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if the block ends without an error.

    Its files are on disk before it gets its name. An existing directory is replaced if it is empty
    or if it is an earlier output: one that contains a file `marker`. Raise OutputError if `target`
    is anything else or can't be written; an earlier output is then still there.
    """
    target = _with_name(target)
    if is_stream(target):
        raise OutputError(f"{target} can't become a directory; name another", path=target)
    _check_replaceable(target, marker)
    with temporary_directory(target) as beside:
        _check_replaceable(target, marker)
        fresh = beside / target.name
        fresh.mkdir()
        yield fresh
        with putting(target):
            sync_tree(fresh)
            put_directory(fresh, target, beside)
            sync(target.parent)


def _with_name(target: Path) -> Path:
    """Return `target` as a path whose last component is a name, not `.` or `..`."""
    return target.resolve() if target.name in {"", ".."} else target


def _check_replaceable(target: Path, marker: str) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        message = f"{target} exists and is not a directory; remove it or name another"
        raise OutputError(message, path=target)
    if any(target.iterdir()) and not (target / marker).exists():
        message = f"{target} exists and is not an earlier output (it has no {marker}); name another"
        raise OutputError(message, path=target)


@contextmanager
def putting(target: Path) -> Iterator[None]:
    """Raise OutputError in place of an OSError that says why `target` can't be put in place."""
    try:
        yield
    except OSError as error:
        message = f"can't put {target} in place: {error.strerror}"
        raise OutputError(message, path=target) from None
