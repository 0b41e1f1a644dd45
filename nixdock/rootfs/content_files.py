"""The files of contents: where their symlinks lead, and errors when they are read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from nixdock.errors import PackError

__all__ = ["kept_link", "leads_out", "read_errors"]


def kept_link(file: str, path: str) -> str | None:
    """Return the target of the symlink `file`, None if it is relative and leads out of its tree."""
    text = os.readlink(file)
    if text.startswith("/"):
        return text
    resolved = os.path.normpath(f"{os.path.dirname(path)}/./{text}".lstrip("/"))  # noqa: PTH120
    return None if resolved == ".." or resolved.startswith("../") else text


def leads_out(place: str, file: str, stores: Collection[str]) -> bool:
    """Tell whether `file`, to which a link in the directory `place` leads, is only on this machine.

    It is if the link is in one of the `stores`, and the file is not: in the image, another file is
    at its path, and what is in this one is nobody's but its owner's.
    """
    real_stores = [os.path.realpath(store) for store in stores]
    return _is_below(place, real_stores) and not _is_below(file, real_stores)


def _is_below(file: str, directories: Collection[str]) -> bool:
    real_path = f"{os.path.realpath(file)}/"
    return any(real_path.startswith(f"{directory}/") for directory in directories)


@contextmanager
def read_errors(content: str) -> Iterator[None]:
    """Raise PackError if a file of `content` can't be read in the block."""
    try:
        yield
    except OSError as error:
        path = error.filename or content
        raise PackError(
            f"can't join {os.fsdecode(path)} at /: {error.strerror or error}", path=path
        ) from None
