"""Texts around and over the lists: what is chosen, help, and explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from nixdock.browse.explanation import Line
from nixdock.browse.lines import FAINT, fitted

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from nixdock.browse.levels import Target

__all__ = ["Panel", "TextLines"]

_CHOSEN = Style(reverse=True)


class TextLines(Widget):
    """A few lines of text, wrapped and cut, in which nothing is markup."""

    def __init__(self, style: Style = FAINT) -> None:
        super().__init__()
        self._style = style
        self._texts: Sequence[str] = ()

    def show(self, *texts: str) -> None:
        """Show other lines."""
        self._texts = texts
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget."""
        width = self.size.width
        lines = [part for text in self._texts for part in wrapped(text, width)]
        text = lines[y] if y < len(lines) else ""
        return Strip(fitted([Segment(text, self._style)], width), width)


class _PanelLines(Widget, can_focus=True):
    """Lines to scroll through; those that lead somewhere can be chosen."""

    def __init__(self, lines: Sequence[Line]) -> None:
        super().__init__()
        self._lines = lines
        self._chosen = next((i for i, line in enumerate(lines) if line.target), 0)
        self._has_targets = any(line.target for line in lines)

    @property
    def target(self) -> Target | None:
        """Where the chosen line leads."""
        return self._lines[self._chosen].target if self._lines else None

    def move(self, lines: int) -> None:
        """Choose a line further down."""
        self._chosen = max(0, min(self._chosen + lines, len(self._lines) - 1))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget."""
        width, height = self.size
        shown: list[tuple[int, str]] = []
        for number, line in enumerate(self._lines):
            shown += [(number, part) for part in wrapped(line.text, width)]
        first = next((i for i, (number, _) in enumerate(shown) if number == self._chosen), 0)
        if not self._has_targets:
            # Nothing is chosen: the line is only where the text is scrolled to.
            top = min(first, max(0, len(shown) - height))
        else:
            top = max(0, min(first - height // 2, len(shown) - height))
        if top + y >= len(shown):
            return Strip(fitted([], width), width)
        number, text = shown[top + y]
        style = _CHOSEN if self._has_targets and number == self._chosen else Style()
        return Strip(fitted([Segment(text, style)], width, style), width)


class Panel(ModalScreen["Target | None"]):
    """A text over the lists; it ends with where the chosen line leads, or with None."""

    CSS = """
    Panel { align: center middle; background: ansi_default; }
    Panel > Container { width: 100%; max-width: 100; height: 100%; max-height: 40;
                        border: solid ansi_default; background: ansi_default; padding: 0 1; }
    Panel _PanelLines { width: 1fr; height: 1fr; background: ansi_default; }
    Panel TextLines { height: 1; background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)"),
        Binding("up,k", "move(-1)"),
        Binding("pagedown,ctrl+d,space", "move(10)"),
        Binding("pageup,ctrl+u", "move(-10)"),
        Binding("enter,right,l", "follow"),
        Binding("escape,q,left,h,question_mark,backspace,w,i,f1", "close"),
    ]

    def __init__(self, lines: Sequence[Line]) -> None:
        super().__init__()
        self._text = _PanelLines(lines)

    def compose(self) -> ComposeResult:
        """Give the widgets."""
        hints = TextLines()
        hints.show("↓ ↑ move   ⏎ go there   Esc close" if self._text.target else "Esc close")
        with Container():
            yield self._text
            yield hints

    def on_mount(self) -> None:
        """Let the text have the keys."""
        self._text.focus()

    def action_move(self, lines: int) -> None:
        """Choose another line."""
        self._text.move(lines)

    def action_follow(self) -> None:
        """Go where the chosen line leads."""
        if self._text.target is not None:
            self.dismiss(self._text.target)

    def action_close(self) -> None:
        """Go back to the lists."""
        self.dismiss(None)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go down."""
        event.stop()
        self._text.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Go up."""
        event.stop()
        self._text.move(-3)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` columns; those after the first one are indented."""
    if width < 8:
        return [text]
    indent = "  "
    # Of a text without any width, there are no lines.
    first, *rest = chop_cells(text, width) or [text]
    if not rest:
        return [first]
    after = chop_cells(text[len(first) :], width - len(indent))
    return [first, *(indent + part for part in after)]
