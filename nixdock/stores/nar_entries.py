"""The entries of store paths in NARs, with the modes that Nix gives to all files of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.nix.nar_entry import NarEntry
from nixdock.nix.store_path import StorePath
from nixdock.tar.header import Content, Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import WHITEOUT, whiteout_error

__all__ = ["entries_of_nar"]

_READ_ONLY: Final = 0o444
_EXECUTABLE: Final = 0o555
# What Linux says of each symlink.
_SYMLINK: Final = 0o777


def entries_of_nar(
    found: Iterable[NarEntry], path: StorePath, content: Content | None
) -> Iterator[Entry]:
    """Yield the entries of a store path, as `walk` does; files are read from `content`.

    Raise PackError for names of whiteouts, and for names whose order in a layer is another one than
    in a NAR: that is by text there, where bytes that are not UTF-8 come before some letters.
    """
    top = path.encode()
    before = b""
    is_text = True
    for relative, kind, executable, size, target in found:
        name = top + b"/" + relative if relative else top
        if WHITEOUT in relative and relative.rpartition(b"/")[2].startswith(WHITEOUT):
            raise whiteout_error(name_text(name))
        was_text, is_text = is_text, relative.isascii()
        if not (was_text and is_text):
            _check_order(top, before, relative)
        before = relative
        # Calling the class of entries takes twice the time.
        if kind == "regular":
            mode = _EXECUTABLE if executable else _READ_ONLY
            yield tuple.__new__(Entry, (name, Kind.FILE, mode, size, b"", b"", None, content))
        elif kind == "directory":
            yield Entry(name + b"/", Kind.DIRECTORY, _EXECUTABLE)
        else:
            yield tuple.__new__(Entry, (name, Kind.SYMLINK, _SYMLINK, 0, target, b"", None, None))


def _check_order(top: bytes, before: bytes, relative: bytes) -> None:
    """Compare the name of an entry with that before it in the same directory.

    `before` is the entry before: it has that name, or lies below it, or is the directory itself.
    """
    directory, slash, base = relative.rpartition(b"/")
    if not before.startswith(directory + slash):
        return
    last = before[len(directory + slash) :].partition(b"/")[0]
    if name_text(base) < name_text(last):
        raise _order_error(top + b"/" + relative, last)


def _order_error(name: bytes, last: bytes) -> PackError:
    text = name.decode("utf-8", "backslashreplace")
    return PackError(
        f"{text} comes before {last.decode('utf-8', 'backslashreplace')} in a layer, but after it"
        " in a NAR, which is read once; copy its store path into the local store",
        path=text,
    )
