"""Base64 and JSON of signed documents, which may be as large as what is attested."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["base64_bytes", "base64_text", "decoded_json"]

_Document = TypeVar("_Document")


def base64_text(data: bytes) -> str:
    """Return `data` in standard Base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def base64_bytes(text: str) -> bytes:
    """Return the bytes that `base64_text` would write as `text`; raise ValueError if none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not Base64") from None
    # Bits that are not used, and line ends, would give a text several forms.
    if base64_text(data) != text:
        raise ValueError("it is not Base64 in its only form")
    return data


def decoded_json(data: bytes, document: type[_Document], what: str) -> _Document:
    """Return JSON as the type `document`, which skips what it does not name.

    Raise ImageError, with `what` as its subject, if it does not fit.
    """
    try:
        return msgspec.json.decode(data, type=document)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{what} is malformed: {shown(str(error))}") from None
