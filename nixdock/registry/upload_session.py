"""Uploads that have begun, and where they go on, as a registry says."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from nixdock.errors import RegistryError
from nixdock.network.answers import Response

__all__ = ["UploadSession", "location_of", "session_of"]

# More than of any number of bytes.
_MOST_DIGITS: Final = 18


class UploadSession(Struct, frozen=True):
    """An upload that has begun: where it goes on, and how many bytes a piece has at least.

    Only the last piece, with which the upload ends, may have fewer.
    """

    location: str
    least: int = 0


def session_of(
    response: Response, place: str, before: UploadSession | None = None
) -> UploadSession:
    """Return how an upload goes on, as an answer says, or else as was said `before`."""
    stated = response.headers.get("OCI-Chunk-Min-Length", "")
    is_number = stated.isascii() and stated.isdecimal() and len(stated) <= _MOST_DIGITS
    known = 0 if before is None else before.least
    default = None if before is None else before.location
    location = location_of(response, place, default)
    return UploadSession(location, int(stated) if is_number else known)


def location_of(response: Response, place: str, default: str | None = None) -> str:
    """Return where the upload goes on that an answer of `place` is about."""
    location = response.headers.get("Location")
    if location:
        return response.linked(location)
    if default is not None:
        return default
    raise RegistryError(
        f"{place}: the registry began an upload, but does not say where",
        place=place,
    )
