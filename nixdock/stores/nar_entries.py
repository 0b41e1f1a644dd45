"""The entries of store paths in NARs, with the modes that Nix gives to all files of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.nix.nar import NarEntry
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
    # The names so far, one for each depth, of which the last file is the last one.
    names: list[bytes] = []
    for relative, kind, executable, size, target in found:
        if not relative:
            name = top
        else:
            name = top + b"/" + relative
            depth = relative.count(b"/")
            base = relative.rpartition(b"/")[2]
            if base.startswith(WHITEOUT):
                raise whiteout_error(name_text(name))
            last = names[depth] if len(names) > depth else b""
            if not (base.isascii() and last.isascii()) and name_text(base) < name_text(last):
                raise _order_error(name, last)
            names[depth:] = [base]
        if kind == "regular":
            mode = _EXECUTABLE if executable else _READ_ONLY
            yield Entry(name, Kind.FILE, mode, size, content=content)
        elif kind == "directory":
            yield Entry(name + b"/", Kind.DIRECTORY, _EXECUTABLE)
        else:
            yield Entry(name, Kind.SYMLINK, _SYMLINK, target=target)


def _order_error(name: bytes, last: bytes) -> PackError:
    text = name.decode("utf-8", "backslashreplace")
    return PackError(
        f"{text} comes before {last.decode('utf-8', 'backslashreplace')} in a layer, but after it"
        " in a NAR, which is read once; copy its store path into the local store",
        path=text,
    )
