"""The list of one image, with the way that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from nixdock.browse.levels import (
    FileTarget,
    Level,
    LevelKind,
    Order,
    PathTarget,
    files_in,
    found_files,
    found_paths,
    layers_of,
    ordered,
    paths_in,
)
from nixdock.browse.lines import FAINT, HEAD, Scale, fitted, header_line, row_line
from nixdock.browse.reading import FilesRead, read_later
from nixdock.view.file_tree import FileNode

if TYPE_CHECKING:
    from textual import events

    from nixdock.browse.levels import Row, Target
    from nixdock.browse.side import Side

__all__ = ["Listing"]

_HEADER: Final = 3
_CHOSEN: Final = Style(reverse=True)
_CHOSEN_ELSEWHERE: Final = Style(underline=True)


class _Place(Struct):
    """A list on the way, in the order of the image, and the number of its chosen row."""

    level: Level
    chosen: int = 0
    top: int = 0
    sorted: Level | None = None
    scale: Scale | None = None


class Listing(Widget, can_focus=True):
    """The list that is looked at, below the image's title, its own title, and a header."""

    DEFAULT_CSS = "Listing { width: 1fr; height: 1fr; }"
    _FIRST_ORDERS: ClassVar = {
        LevelKind.LAYERS: (Order.POSITION, False),
        LevelKind.PATHS: (Order.SIZE, False),
        LevelKind.FILES: (Order.SIZE, False),
    }

    class Moved(Message):
        """Another row is chosen."""

    class Said(Message):
        """There is something to tell."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, side: Side, *, has_status: bool) -> None:
        super().__init__()
        self.side = side
        self.trees: dict[int, FileNode] = {}
        self._being_read: set[int] = set()
        # Nobody waits any more for what was asked for before something else.
        self._wanted: FileTarget | None = None
        self._has_status = has_status
        self._orders = dict(self._FIRST_ORDERS)
        self._way = [_Place(layers_of(side.view))]

    @property
    def level(self) -> Level:
        """The list in its order."""
        place = self._way[-1]
        if place.sorted is None:
            order, is_reversed = self._orders[place.level.kind]
            place.sorted = ordered(place.level, order, is_reversed=is_reversed)
        return place.sorted

    @property
    def row(self) -> Row | None:
        """The chosen row, if there is any."""
        rows = self.level.rows
        return rows[self._way[-1].chosen] if rows else None

    @property
    def depth(self) -> int:
        """How many lists led here, with this one."""
        return len(self._way)

    def open(self, level: Level, chosen: Target | None = None) -> None:
        """Go into a list, to the row that leads to `chosen`."""
        self._wanted = None
        self._way.append(_Place(level))
        self._show(chosen)

    def open_files(self, target: FileTarget) -> None:
        """Go into a directory; read the layer first, if nobody has looked into it yet."""
        if (tree := self.trees.get(target.layer)) is not None:
            self.open(files_in(tree, target.path, target.layer))
            return
        self.post_message(self.Said(f"reading layer {target.layer} …"))
        self._wanted = target
        if target.layer not in self._being_read:
            self._being_read.add(target.layer)
            read_later(self.side.read_files, target.layer, self)

    def on_files_read(self, message: FilesRead) -> None:
        """Open the directory that was asked for, unless something else has been since."""
        self._being_read.discard(message.layer)
        wanted = self._wanted
        is_wanted = wanted is not None and wanted.layer == message.layer
        if isinstance(message.result, FileNode):
            self.trees[message.layer] = message.result
            if wanted is not None and is_wanted:
                self.open_files(wanted)
        elif is_wanted:
            self.post_message(self.Said(message.result))

    def search(self, text: str) -> None:
        """Put what `text` finds in the place of this list, which was opened for that.

        It finds files below the directory that the list was opened from, or else store paths.
        """
        level = self._way[-2].level
        if text and level.of is not None:
            directory, layer = level.of.path, level.of.layer
            level = found_files(self.trees[layer], directory, layer, text)
        elif text:
            level = found_paths(self.side.view, text)
        self._way[-1] = _Place(level)
        self._show(None)

    def leave(self) -> bool:
        """Go back to where the list was opened, and tell whether that is possible."""
        self._wanted = None
        if len(self._way) == 1:
            return False
        del self._way[-1]
        # The order may have been changed meanwhile.
        place = self._way[-1]
        row = self.row
        place.sorted = None
        self._show(row.target if row else None)
        return True

    def show(self, target: Target) -> None:
        """Go to a layer or store path, from the layers on."""
        del self._way[1:]
        if isinstance(target, PathTarget):
            self.open(paths_in(self.side.view, target.layer), target)
        else:
            self._show(target)

    def choose(self, number: int) -> None:
        """Choose the row with this number, or the nearest one."""
        self._way[-1].chosen = max(0, min(number, len(self.level.rows) - 1))
        self.refresh()
        self.post_message(self.Moved())

    def move(self, rows: int) -> None:
        """Choose a row further down."""
        self.choose(self._way[-1].chosen + rows)

    @property
    def page(self) -> int:
        """How many rows fit on the screen."""
        return max(1, self.size.height - _HEADER)

    def sort(self, order: Order) -> None:
        """Sort lists of this kind; by the same once more, the other way round."""
        place = self._way[-1]
        before, was_reversed = self._orders[place.level.kind]
        row = self.row
        self._orders[place.level.kind] = (order, order is before and not was_reversed)
        place.sorted = None
        self._show(row.target if row else None)

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget."""
        width = self.size.width
        return Strip(self._line(y, width), width)

    def on_focus(self) -> None:
        """Show the chosen row as that of the list in use."""
        self.refresh()
        self.post_message(self.Moved())

    def on_blur(self) -> None:
        """Show it as that of the other list."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Choose a row."""
        number = self._way[-1].top + event.y - _HEADER
        if event.y >= _HEADER and number < len(self.level.rows):
            self.choose(number)

    def on_mouse_scroll_down(self) -> None:
        """Go down."""
        self.move(3)

    def on_mouse_scroll_up(self) -> None:
        """Go up."""
        self.move(-3)

    def _show(self, chosen: Target | None) -> None:
        number = None if chosen is None else self.level.index_of(chosen)
        self.choose(number or 0)

    def _line(self, y: int, width: int) -> list[Segment]:
        level = self.level
        order, is_reversed = self._orders[level.kind]
        if y == 0:
            return fitted([Segment(self.side.title, HEAD)], width)
        if y == 1:
            return fitted([Segment(level.title, FAINT)], width)
        scale = self._scale(width, order)
        if y == 2:
            return header_line(level.kind, scale, is_reversed=is_reversed)
        number = self._scrolled() + y - _HEADER
        if number >= len(level.rows):
            text = "nothing" if not level.rows and y == _HEADER else ""
            return fitted([Segment(text)], width)
        style = Style()
        if number == self._way[-1].chosen:
            style = _CHOSEN if self.has_focus else _CHOSEN_ELSEWHERE
        return row_line(level.kind, level.rows[number], scale, style)

    def _scale(self, width: int, order: Order) -> Scale:
        """Return the scale of the list: all of its rows are looked at for it, so only once."""
        place = self._way[-1]
        if place.scale is None or (place.scale.width, place.scale.order) != (width, order):
            place.scale = Scale.of(place.level, width, order, has_status=self._has_status)
        return place.scale

    def _scrolled(self) -> int:
        """Return the number of the first row on the screen, so that the chosen one is there."""
        place = self._way[-1]
        last = max(0, len(self.level.rows) - self.page)
        place.top = max(0, min(place.top, place.chosen, last))
        place.top = max(place.top, place.chosen - self.page + 1)
        return place.top
