"""The anchors of headings, as GitHub makes them."""

from __future__ import annotations

import re

__all__ = ["anchor"]


def anchor(title: str, separator: str = "-") -> str:
    """Return the anchor of a heading, given its title without markup."""
    return re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", separator)
