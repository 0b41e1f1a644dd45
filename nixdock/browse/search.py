"""The text that is searched for, as it is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["ENDS", "is_typed", "typed"]

ENDS = frozenset({"enter", "escape", "down", "up", "tab"})
"""The keys that end a search; escape also takes it back."""


def is_typed(event: events.Event) -> TypeGuard[events.Key | events.Paste]:
    """Tell whether an event is for the search, while there is one."""
    return isinstance(event, events.Paste) or (
        isinstance(event, events.Key) and event.key != "ctrl+c"
    )


def typed(text: str, event: events.Key | events.Paste) -> str:
    """Return the text after a key, or after pasting, of which the first line counts."""
    match event:
        case events.Paste():
            return text + event.text.partition("\n")[0]
        case events.Key(key="backspace"):
            return text[:-1]
        case events.Key(key="ctrl+u"):
            return ""
        case events.Key(is_printable=True, character=str(character)):
            return text + character
    return text
