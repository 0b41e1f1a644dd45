"""Rows as lines of a terminal: pure text in styles, cut to the width, never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from nixdock.browse.levels import LevelKind, Order
from nixdock.system.text import size_text
from nixdock.view.model import Status

if TYPE_CHECKING:
    from nixdock.browse.levels import Level, Row

__all__ = ["FAINT", "HEAD", "Scale", "fitted", "header_line", "row_line"]

HEAD: Final = Style(bold=True)
FAINT: Final = Style(dim=True)
_APP: Final = Style(bold=True)
_PLAIN: Final = Style()

# The sign tells the same as the colour. Yellow and cyan are told apart by people of any colour
# vision, and are those of the other commands.
_SIGNS: Final = {Status.KEPT: "=", Status.MOVED: ">", Status.NEW: "+", Status.GONE: "-"}
_COLOURS: Final = {
    Status.KEPT: _PLAIN,
    Status.MOVED: Style(color="cyan"),
    Status.NEW: Style(color="yellow"),
    Status.GONE: FAINT,
}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_UNKNOWN: Final = "?"

_SIZE: Final = 8
_NARROW, _WIDE = 44, 84


class Scale(Struct, frozen=True):
    """What all lines of a list have in common: their width, what bars are of, and the most of it.

    `has_status` says that there is another image to compare with, and `has_added` that added sizes
    are known.
    """

    width: int
    order: Order
    most: int
    has_status: bool
    has_added: bool

    @classmethod
    def of(cls, level: Level, width: int, order: Order, *, has_status: bool) -> Scale:
        """Return the scale of a list."""
        most = max((_measured(row, order) or 0 for row in level.rows), default=0)
        has_added = any(row.added is not None for row in level.rows)
        return cls(width, order, most, has_status, has_added)

    @property
    def bar(self) -> int:
        """How wide bars are."""
        return 0 if self.width < _NARROW else max(6, min(24, self.width // 6))

    @property
    def is_wide(self) -> bool:
        """Whether there is room for all columns."""
        return self.width >= _WIDE


def header_line(kind: LevelKind, scale: Scale, *, is_reversed: bool) -> list[Segment]:
    """Return the names of the columns; an arrow marks the one that the list is sorted by."""
    arrow = "▲" if is_reversed else "▼"

    def title(text: str, order: Order | None = None) -> str:
        return f"{text}{arrow}" if order is scale.order else text

    parts = [" " if scale.has_status else ""]
    match kind:
        case LevelKind.LAYERS:
            parts.append(f"{title('#', Order.POSITION):>4}")
        case LevelKind.PATHS if scale.is_wide:
            parts.append(f"{'hash':<6}")
    parts.append(f"{title('size', Order.SIZE):>{_SIZE}}")
    if scale.has_added:
        parts.append(f"{title('added', Order.ADDED):>{_SIZE}}")
    if scale.bar:
        parts.append(" " * scale.bar)
    if scale.is_wide and kind is LevelKind.LAYERS:
        parts += [f"{'paths':>5}", f"{'changes with':>12}"]
    if scale.is_wide and kind is LevelKind.FILES:
        parts.append(f"{'items':>6}")
    parts.append(title("name", Order.NAME))
    return fitted([Segment(" ".join(filter(None, parts)), FAINT)], scale.width)


def row_line(kind: LevelKind, row: Row, scale: Scale, style: Style = _PLAIN) -> list[Segment]:
    """Return a row; `style` goes over all of it. The name stands last, so that nothing follows it.

    A name in a script that is written from right to left can then change the place of nothing else.
    """
    colour = _PLAIN if row.status is None else _COLOURS[row.status]
    faint = FAINT if row.status is None else colour
    parts: list[tuple[str, Style]] = []
    if scale.has_status:
        parts.append((_SIGNS[row.status] if row.status else " ", colour))
    match kind:
        case LevelKind.LAYERS:
            parts.append((f"{row.label:>4}", colour))
        case LevelKind.PATHS if scale.is_wide:
            parts.append((f"{row.label:<6}", faint))
    parts.append((f"{_size(row.size):>{_SIZE}}", colour))
    if scale.has_added:
        parts.append((f"{_size(row.added):>{_SIZE}}", colour))
    if scale.bar:
        parts.append((_bar(_measured(row, scale.order), scale), colour))
    if scale.is_wide and kind is LevelKind.LAYERS:
        parts.append((f"{row.count or '':>5}", faint))
        parts.append((f"{'' if row.changed_by is None else row.changed_by:>12}", faint))
    if scale.is_wide and kind is LevelKind.FILES:
        parts.append((f"{'' if row.count is None else row.count:>6}", faint))
    parts.append((row.name, colour + _APP if row.is_app else colour))
    segments = []
    for number, (text, its) in enumerate(parts):
        segments.append(Segment(f" {text}" if number else text, its + style))
    return fitted(segments, scale.width, colour + style)


def fitted(segments: list[Segment], width: int, style: Style = _PLAIN) -> list[Segment]:
    """Return a line of exactly `width` columns; what is cut ends with an ellipsis."""
    line, room = [], width
    for segment in segments:
        size = cell_len(segment.text)
        if size <= room:
            line.append(segment)
            room -= size
            continue
        if room:
            line.append(Segment(set_cell_size(segment.text, room - 1) + "…", segment.style))
        return line
    return [*line, Segment(" " * room, style)] if room else line


def _measured(row: Row, order: Order) -> int | None:
    return row.added if order is Order.ADDED else row.size


def _size(size: int | None) -> str:
    return _UNKNOWN if size is None else size_text(size)


def _bar(size: int | None, scale: Scale) -> str:
    """Return a bar to scale, as wide as all of them; whatever has bytes has a bar."""
    if not size or not scale.most:
        return " " * scale.bar
    eighths = max(1, (2 * 8 * size * scale.bar + scale.most) // (2 * scale.most))
    text = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return f"{text:<{scale.bar}}"
