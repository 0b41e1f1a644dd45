"""The Link header, with which a registry says where a list continues (RFC 8288)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["next_link"]

_LINK: Final = re.compile(r"\s*<([^>]*)>((?:\s*;\s*[^,;=]+(?:=(?:\"[^\"]*\"|[^,;\"]*))?)*)\s*,?")
_REL: Final = re.compile(r";\s*rel\s*=\s*\"?([^\";]*)\"?", re.IGNORECASE)


def next_link(header: str) -> str | None:
    """Return the target of the link to the next page, which may be relative, or None."""
    for target, parameters in _LINK.findall(header):
        relation = _REL.search(parameters)
        if relation is not None and "next" in relation[1].lower().split():
            return str(target)
    return None
