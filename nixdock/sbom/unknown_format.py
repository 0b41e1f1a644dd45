"""Databases of packages that are left out, because their format is not known."""

from __future__ import annotations

__all__ = ["UnknownFormatError"]


class UnknownFormatError(Exception):
    """A database need not be damaged, but nixdock can't read its format; the message names it."""
