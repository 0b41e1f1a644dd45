"""Outputs that appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nixdock.errors import OutputError
from nixdock.system.directory_form import (
    DirectoryForm,
    check_replaceable,
    own_files,
    real_directory,
)
from nixdock.system.directory_lock import directory_lock
from nixdock.system.mounts import is_mount_point
from nixdock.system.presence import is_directory, is_link
from nixdock.system.renaming import put_directory, put_files, sync, sync_tree
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
    if target.name in {"", ".."}:
        target = target.resolve()
    descriptor = descriptor_of(target)
    if descriptor is not None:
        yield StreamWriter(descriptor, str(target), target)
        return
    if is_directory(target) and not is_link(target):
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
def whole_directory(target: Path, form: DirectoryForm) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if the block ends without an error.

    Its files are on disk before it gets its name. An existing directory is replaced if it is empty
    or if it is an earlier output that has nothing else. Where something is mounted at `target`, its
    files are replaced instead, the one that leads to the others last. Raise OutputError if `target`
    is anything else or can't be written; an earlier output is then still there.
    """
    target = real_directory(target)
    if is_stream(target):
        raise OutputError(f"{target} can't become a directory; name another", path=target)
    check_replaceable(target, form)
    with temporary_directory(target) as beside:
        check_replaceable(target, form)
        fresh = beside / target.name
        fresh.mkdir()
        yield fresh
        with putting(target):
            sync_tree(fresh)
            with directory_lock(target, writing=True):
                # Something may have been put there meanwhile.
                check_replaceable(target, form)
                if is_mount_point(target):
                    _replace_files(fresh, target, form)
                else:
                    put_directory(fresh, target, beside)
                    sync(target.parent)


def _replace_files(fresh: Path, target: Path, form: DirectoryForm) -> None:
    """Put the files below `fresh` in the place of the output in `target`, which stays itself."""
    stale = own_files(target, form) - own_files(fresh, form)
    put_files(fresh, target, form.leading)
    for name in stale:
        (target / name).unlink(missing_ok=True)


@contextmanager
def putting(target: Path) -> Iterator[None]:
    """Raise OutputError in place of an OSError that says why `target` can't be put in place."""
    try:
        yield
    except OSError as error:
        message = f"can't put {target} in place: {error.strerror}"
        if error.errno == errno.EBUSY:
            message += "; something is mounted there: name another"
        raise OutputError(message, path=target) from None
