"""The browser as a program of the terminal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from nixdock.browse.counterparts import counterpart
from nixdock.browse.explanation import Line, explanation, titled_path, why
from nixdock.browse.footer import Footer
from nixdock.browse.keys import HINTS, HINTS_OF_TWO, KEYS, help_lines
from nixdock.browse.levels import (
    FileTarget,
    LayerTarget,
    Order,
    PathTarget,
    all_paths,
    layer_at,
    paths_in,
    references,
    referrers,
)
from nixdock.browse.lines import HEAD
from nixdock.browse.listing import Listing
from nixdock.browse.panels import Panel, TextLines
from nixdock.browse.search import ENDS, is_typed, typed
from nixdock.system.workers import TERMINATION

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.geometry import Size

    from nixdock.browse.levels import Target
    from nixdock.browse.side import Side

__all__ = ["Browser"]

# From this width on, two images stand beside each other.
_SIDE_BY_SIDE: Final = 100
_INTERRUPTED: Final = 128 + signal.SIGINT
# The actions without their arguments.
_OF_LISTS: Final = frozenset(key.action.partition("(")[0] for key in KEYS)


class Browser(App[None]):
    """A browser of one image, or of two; `sentence` says what an update from one moves.

    `return_code` is 0, or 128 and the number of the signal that ended it.
    """

    ENABLE_COMMAND_PALETTE = False
    # The colours are those of the terminal, and so is what is behind them.
    CSS = """
    Screen, Horizontal, Listing, Footer, TextLines
        { background: ansi_default; color: ansi_default; }
    Screen { overflow: hidden; }
    Horizontal { height: 1fr; }
    .beside { margin-left: 2; }
    TextLines { height: 1; }
    """
    # With priority, each key has done its work before the next one is looked at: text that follows
    # the slash at once is no command.
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.names, key.action, show=False, priority=True) for key in KEYS),
        Binding("ctrl+c", "interrupt", show=False, priority=True, system=True),
    ]

    def __init__(self, sides: Sequence[Side], sentence: str = "") -> None:
        super().__init__(ansi_color=True)
        self._listings = [Listing(side, has_status=len(sides) > 1) for side in sides]
        self._used = self._listings[-1]
        self._sentence = TextLines(HEAD)
        self._sentence.show(sentence)
        self._sentence.styles.display = "block" if sentence else "none"
        self._footer = Footer(HINTS if len(sides) == 1 else HINTS_OF_TWO)
        # What is being searched for, as far as it has been typed.
        self._searched: str | None = None

    def compose(self) -> ComposeResult:
        """Give the widgets."""
        yield self._sentence
        with Horizontal():
            yield from self._listings
        yield self._footer

    async def on_event(self, event: events.Event) -> None:
        """Take keys as text while there is a search, each before the next one is looked at."""
        if self._searched is not None and is_typed(event):
            self._type(event)
        else:
            await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Let the keys of the lists have their effects in the lists alone."""
        return action not in _OF_LISTS or isinstance(self.focused, Listing)

    def on_mount(self) -> None:
        """Show the first list, and end as a program does that gets a signal."""
        loop = asyncio.get_running_loop()
        for number in TERMINATION:
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))
        self._arrange(self.size)
        self.screen.set_focus(self._used)

    def on_resize(self, event: events.Resize) -> None:
        """Show as much as there is room for."""
        self._arrange(event.size)
        # Textual tells them with a timer that is lost where the machine is too busy to start it.
        for screen in self.screen_stack:
            screen.post_message(event)

    def on_listing_moved(self) -> None:
        """Say what is chosen."""
        if isinstance(self.focused, Listing):
            self._used = self.focused
        self._say()

    def on_listing_said(self, event: Listing.Said) -> None:
        """Tell it."""
        self._say(event.text)

    def action_move(self, rows: int) -> None:
        """Choose another row."""
        self._used.move(rows)

    def action_page(self, pages: int) -> None:
        """Choose a row on another page."""
        self._used.move(pages * self._used.page)

    def action_edge(self, last: int) -> None:
        """Choose the first or last row."""
        self._used.choose(last * len(self._used.level.rows))

    def action_descend(self) -> None:
        """Go into what is chosen."""
        row = self._used.row
        if row is not None:
            self._go(row.target)

    def action_ascend(self) -> None:
        """Go back."""
        if not self._used.leave():
            self._say("These are the layers; q quits.")

    def action_sort(self, order: str) -> None:
        """Sort the list, and those like it."""
        self._used.sort(Order(order))

    def action_search(self) -> None:
        """Ask what to search for; the list follows what is typed."""
        self._used.open(self._used.level)
        self._searched = ""
        self._footer.show_search("")

    def action_why(self) -> None:
        """Show why a store path is in the image."""
        row = self._used.row
        match row and row.target:
            case PathTarget(path):
                self._explain(why(self._used.side.view, path))
            case LayerTarget(number) if titled := titled_path(self._used.side.view, number):
                self._explain(why(self._used.side.view, titled))
            case _:
                self.action_explain()

    def action_explain(self) -> None:
        """Show all that is known of what is chosen."""
        row = self._used.row
        if row is not None:
            self._explain(explanation(self._used.side.view, row))

    def action_help(self) -> None:
        """Show what the keys do."""
        self.push_screen(Panel([Line(text) for text in help_lines()]))

    def action_all_paths(self) -> None:
        """Show the store paths of all layers."""
        self._used.open(all_paths(self._used.side.view))

    def action_references(self) -> None:
        """Show what the chosen store path refers to."""
        if (path := self._chosen_path()) is not None:
            self._used.open(references(self._used.side.view, path))

    def action_referrers(self) -> None:
        """Show what refers to the chosen store path."""
        if (path := self._chosen_path()) is not None:
            self._used.open(referrers(self._used.side.view, path))

    def action_other_side(self) -> None:
        """Go to the other image."""
        if len(self._listings) > 1:
            self._use(self._listings[self._listings[0] is self._used])

    def action_counterpart(self) -> None:
        """Go to the same layer or store path in the other image."""
        row = self._used.row
        if len(self._listings) == 1 or row is None:
            return
        other = self._listings[self._listings[0] is self._used]
        if isinstance(row.target, FileTarget):
            self._say("Of files, nothing is compared: go back to their store path.")
            return
        target = counterpart(self._used.side.view, row.target, other.side.view)
        if target is None:
            self._say("The other image does not have it.")
            return
        other.show(target)
        self._use(other)

    def action_interrupt(self) -> None:
        """End as an interrupted program does."""
        self.exit(return_code=_INTERRUPTED)

    def action_leave(self) -> None:
        """End."""
        self.exit()

    def _type(self, event: events.Key | events.Paste) -> None:
        """Change what is searched for, or end the search."""
        if isinstance(event, events.Key) and event.key in ENDS:
            self._searched = None
            if event.key == "escape":
                self._used.leave()
        else:
            self._searched = typed(self._searched or "", event)
            self._used.search(self._searched)
        self._footer.show_search(self._searched)

    def _chosen_path(self) -> str | None:
        row = self._used.row
        if row is not None and isinstance(row.target, PathTarget):
            if self._used.side.view.has_references:
                return row.target.path
            self._say("Nothing states the references of these store paths; --graph FILE does.")
        return None

    def _go(self, target: Target, chosen: Target | None = None) -> None:
        """Open what a row or a line leads to."""
        view = self._used.side.view
        match target:
            case LayerTarget(number):
                if layer_at(view, number).paths:
                    self._used.open(paths_in(view, number), chosen)
                else:
                    self._used.open_files(FileTarget("/", number))
            case PathTarget(path, layer_number):
                self._used.open_files(FileTarget(path, layer_number))
            case FileTarget(is_directory=True):
                self._used.open_files(target)
            case _:
                self.action_explain()

    def _explain(self, lines: Sequence[Line]) -> None:
        def follow(target: Target | None) -> None:
            if isinstance(target, PathTarget):
                self._go(LayerTarget(target.layer), target)

        self.push_screen(Panel(lines), follow)

    def _use(self, listing: Listing) -> None:
        self._used = listing
        self._arrange(self.size)
        self.screen.set_focus(listing)

    def _arrange(self, size: Size) -> None:
        width, height = size
        is_wide = width >= _SIDE_BY_SIDE
        for listing in self._listings:
            is_shown = is_wide or listing is self._used
            listing.styles.display = "block" if is_shown else "none"
        self._listings[-1].set_class(is_wide and len(self._listings) > 1, "beside")
        self._footer.fit(width, height)

    def _say(self, *texts: str) -> None:
        """Show a message or, without one, what is chosen."""
        row = self._used.row
        self._footer.say(texts or (row.details if row else ()))
