"""The names by which a layer deletes files of lower layers (image-spec, layer.md)."""

from __future__ import annotations

from typing import Final

__all__ = ["AUFS", "OPAQUE", "WHITEOUT", "is_aufs", "is_hidden"]


WHITEOUT: Final = b".wh."


OPAQUE: Final = b".wh..wh..opq"


# AUFS's own files, which everyone ignores, start so.
AUFS: Final = b".wh..wh."


def is_hidden(name: bytes) -> bool:
    """Tell whether the normalised `name` is a whiteout, or below a file or directory of AUFS's."""
    return name.startswith(WHITEOUT) or b"/" + WHITEOUT in name


def is_aufs(name: bytes) -> bool:
    """Tell whether the normalised `name` is, or is below, one of AUFS's own files."""
    return name.startswith(AUFS) or b"/" + AUFS in name
