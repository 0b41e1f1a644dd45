"""The names of whiteouts, which delete files of lower layers (image-spec, layer.md)."""

from __future__ import annotations

from typing import Final

__all__ = ["AUFS", "OPAQUE", "WHITEOUT", "is_aufs", "is_hidden"]

WHITEOUT: Final = b".wh."
"""The prefix of a whiteout; the rest of its name is the file that it deletes."""

OPAQUE: Final = b".wh..wh..opq"
"""The file that deletes everything that lower layers have in its directory."""

AUFS: Final = b".wh..wh."
"""The prefix of the metadata files of AUFS, which all runtimes ignore, and of OPAQUE."""


def is_hidden(name: bytes) -> bool:
    """Return whether a component of the normalised `name` starts with WHITEOUT."""
    return name.startswith(WHITEOUT) or b"/" + WHITEOUT in name


def is_aufs(name: bytes) -> bool:
    """Return whether a component of the normalised `name` starts with AUFS."""
    return name.startswith(AUFS) or b"/" + AUFS in name
