"""What stands below the lists: what is chosen, the line to search in, and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from nixdock.browse.panels import TextLines

if TYPE_CHECKING:
    from textual import events
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
    Footer Input { display: none; height: 1; border: none; padding: 0;
                   background: ansi_default; color: ansi_default; }
    Footer Input:focus { border: none; }
    """

    class Typed(Message):
        """Another text is to be searched for."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Done(Message):
        """The search is over; what it has found is `taken` or not."""

        def __init__(self, *, taken: bool) -> None:
            super().__init__()
            self.taken = taken

    def __init__(self, hints: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._hints = hints
        self._details = TextLines()
        self._keys = TextLines()
        self._input = Input(placeholder="a part of a name", select_on_focus=False)

    def compose(self) -> ComposeResult:
        """Give the widgets."""
        yield self._details
        yield self._input
        yield self._keys

    def say(self, texts: Sequence[str]) -> None:
        """Show lines of text."""
        self._details.show(*texts)

    def ask(self) -> None:
        """Ask what to search for."""
        self._input.value = ""
        self._input.styles.display = "block"
        # Not later: what is typed meanwhile would be commands.
        self.screen.set_focus(self._input)
        self._keys.show("⏎ take these   Esc back")

    def fit(self, width: int, height: int) -> None:
        """Take as much room as there is, and show the keys that fit."""
        self._details.styles.height = max(0, min(_DETAILS, height - _OTHER_LINES))
        texts = [f"{key} {text}" for key, text in self._hints]
        while len(texts) > 1 and len(_GAP.join(texts)) > width:
            del texts[-1]
        self._keys.show(_GAP.join(texts))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search for what has been typed so far."""
        event.stop()
        if self._input.has_focus:
            self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take what was found."""
        event.stop()
        self._end(taken=True)

    def on_key(self, event: events.Key) -> None:
        """Leave the search."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self._end(taken=False)

    def _end(self, *, taken: bool) -> None:
        self._input.styles.display = "none"
        self.post_message(self.Done(taken=taken))
