"""Names that images have in containerd while they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference

__all__ = ["passing_name"]


@contextmanager
def passing_name(remove: Callable[[Reference], object]) -> Iterator[Reference]:
    """Return a context with a name to load an image by, which `remove` removes at its end.

    Within it, the image gets its own names. If it got them at once, the layers of the image that
    has had them could go just when the new ones are to be unpacked on top.
    """
    name = Reference.of("nixdock.invalid/load", os.urandom(8).hex())
    try:
        yield name
    finally:
        with suppress(ToolError):
            remove(name)
