"""What both formats have in common: the writing program, and identifiers."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

import orjson
from msgspec import Struct

from nixdock.sbom.bill import License

__all__ = [
    "DOCUMENTS",
    "PROGRAM",
    "DocumentKind",
    "all_of",
    "content_uuid",
    "license_expression",
    "program_version",
    "web_address",
]

PROGRAM: Final = "nixdock"


class DocumentKind(Struct, frozen=True):
    """How documents of a format are known: their media type, and the end of their files' names.

    `predicate_type` is that of in-toto statements with such a document.
    """

    media_type: str
    suffix: str
    predicate_type: str


DOCUMENTS: Final = {
    "spdx": DocumentKind("application/spdx+json", ".spdx.json", "https://spdx.dev/Document"),
    "cyclonedx": DocumentKind(
        "application/vnd.cyclonedx+json", ".cdx.json", "https://cyclonedx.org/bom"
    ),
}
"""The formats of bills of materials, by their names."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "sbom.nixdock.dev")
# Both formats want URLs, and a database may have anything in their place.
_WEB_ADDRESS: Final = re.compile(
    r"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?"
    r"(?:[/?#](?:[A-Za-z0-9._~!$&'()*+,;=:@/?#-]|%[0-9A-Fa-f]{2})*)?",
    re.ASCII,
)


def program_version() -> str:
    """Return the version of nixdock."""
    return version(PROGRAM)


def content_uuid(document: object) -> str:
    """Return a UUID that follows from the content of a document: equal ones have the same."""
    data = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return str(uuid.uuid5(_NAMESPACE, hashlib.sha256(data).hexdigest()))


def license_expression(licenses: tuple[License, ...]) -> str | None:
    """Return the SPDX expression of licences that all apply, or None if one has no identifier."""
    names = [each.spdx_id for each in licenses]
    if not names or None in names:
        return None
    return all_of(filter(None, names))


def all_of(expressions: Iterable[str]) -> str:
    """Return the SPDX expression that all of these apply; it is empty if there are none."""
    unique = [*dict.fromkeys(expressions)]
    if len(unique) < 2:
        return "".join(unique)
    return " AND ".join(f"({each})" if " OR " in each else each for each in unique)


def web_address(text: str | None) -> str:
    """Return `text` if it is a URL of the web, else nothing."""
    return text if text and _WEB_ADDRESS.fullmatch(text) else ""
