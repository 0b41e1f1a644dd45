"""What stands below the lists: what is chosen, and the keys or the text to search for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from textual.containers import Vertical

from nixdock.browse.lines import FAINT, HEAD
from nixdock.browse.panels import TextLines
from nixdock.system.text import shown

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["Footer"]

_DETAILS: Final = 4
# How many lines of the terminal the details leave to the rest.
_OTHER_LINES: Final = 8
_GAP: Final = "   "


class Footer(Vertical):
    """The lines below the lists; `hints` are the keys to tell of, the important ones first."""

    DEFAULT_CSS = """
    Footer { height: auto; }
    Footer TextLines { height: 1; }
    """

    def __init__(self, hints: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._hints = hints
        self._details = TextLines(FAINT)
        self._keys = TextLines(FAINT)
        self._search = TextLines(HEAD)
        self._search.styles.display = "none"

    def compose(self) -> ComposeResult:
        """Give the widgets."""
        yield self._details
        yield self._search
        yield self._keys

    def say(self, texts: Sequence[str]) -> None:
        """Show lines of text."""
        self._details.show(*texts)

    def show_search(self, text: str | None) -> None:
        """Show what is searched for, or that nothing is any more."""
        is_on = text is not None
        self._search.show(f"/{shown(text or '')}▏")
        self._search.styles.display = "block" if is_on else "none"
        self._keys.styles.display = "none" if is_on else "block"

    def fit(self, width: int, height: int) -> None:
        """Take as much room as there is, and show the keys that fit."""
        self._details.styles.height = max(0, min(_DETAILS, height - _OTHER_LINES))
        texts = [f"{key} {text}" for key, text in self._hints]
        while len(texts) > 1 and len(_GAP.join(texts)) > width:
            del texts[-1]
        self._keys.show(_GAP.join(texts))
