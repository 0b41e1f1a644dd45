"""The names of whiteouts, which delete files of lower layers (image-spec, layer.md)."""

from __future__ import annotations

from typing import Final

from nixdock.errors import PackError

__all__ = [
    "AUFS",
    "OPAQUE",
    "WHITEOUT",
    "is_aufs",
    "is_hidden",
    "is_whiteout",
    "whiteout_error",
]

WHITEOUT: Final = b".wh."
"""The prefix of a whiteout; the rest of its name is the file that it deletes."""

OPAQUE: Final = b".wh..wh..opq"
"""The file that deletes everything that lower layers have in its directory."""

AUFS: Final = b".wh..wh."
"""The prefix of OPAQUE, and of what AUFS keeps in the root directory.

Runtimes take what has such a name for whiteouts of nothing, and what is below it for files like any
other: AUFS stores the targets of hard links in `.wh..wh.plnk`.
"""


def whiteout_error(path: str) -> PackError:
    """Return the error for a file that has the name of a whiteout, and is to be packed."""
    return PackError(
        f"{path} has the name of a whiteout: in a layer it would delete a file instead of"
        " being one; rename it or leave its store path out",
        path=path,
    )


def is_hidden(name: bytes) -> bool:
    """Return whether a component of the normalised `name` starts with WHITEOUT."""
    return name.startswith(WHITEOUT) or b"/" + WHITEOUT in name


def is_whiteout(name: bytes) -> bool:
    """Return whether the last component of the normalised `name` starts with WHITEOUT."""
    return name.rpartition(b"/")[2].startswith(WHITEOUT)


def is_aufs(name: bytes) -> bool:
    """Return whether the normalised `name` is that of metadata: at the root, or below it."""
    return name.startswith(AUFS)
