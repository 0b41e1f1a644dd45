"""HTML as text: elements with their attributes, and names that can neither act nor deceive."""

from __future__ import annotations

from html import escape
from typing import Final

from nixdock.system.text import shown

__all__ = ["attributes", "element", "isolated", "name", "text"]

_FIRST_STRONG_ISOLATE: Final = "\u2068"
_POP_ISOLATE: Final = "\u2069"
# An element without end tag.
_VOID: Final = frozenset({"input", "link", "meta"})


def text(value: object) -> str:
    """Return untrusted text as HTML: on one line, with control characters as visible escapes.

    Among them are those that change the direction of the text around them.
    """
    return escape(shown(str(value)))


def name(value: object) -> str:
    """Return an untrusted name as an element that right-to-left letters can't reach out of."""
    return f"<bdi>{text(value)}</bdi>"


def isolated(value: object) -> str:
    """Return an untrusted name as plain text for an attribute, isolated as `name` does.

    It is not escaped as HTML; `attributes` does that.
    """
    return f"{_FIRST_STRONG_ISOLATE}{shown(str(value))}{_POP_ISOLATE}"


def attributes(values: dict[str, object]) -> str:
    """Return attributes as HTML, each with a space before it.

    True stands for an attribute without a value; None and False for no attribute.
    """
    return "".join(
        f" {key}" if value is True else f' {key}="{escape(str(value))}"'
        for key, value in values.items()
        if value is not None and value is not False
    )


def element(tag: str, content: str = "", /, **values: object) -> str:
    """Return an element with `content`, which is HTML.

    Attributes are keyword arguments: `class_` stands for class, and underscores for hyphens.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in values.items()}
    start = f"<{tag}{attributes(given)}>"
    return start if tag in _VOID else f"{start}{content}</{tag}>"
