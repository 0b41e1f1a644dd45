"""Bars to scale: an image as a row of its layers, and an old one over a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from nixdock.page.geometry import Span, segments
from nixdock.page.markup import element, isolated, name
from nixdock.page.sheet import Sheet
from nixdock.system.text import size_text

__all__ = ["Bar", "Segment", "bar_figure"]

# What has changed must be seen, however small it is; the rest may become a line.
_CHANGED: Final = frozenset({"new", "moved", "gone"})
_LEAST_CHANGED: Final = 0.008
_LEAST: Final = 0.0015
# From which part of the longest bar on a segment has room for its label, also on a phone.
_ROOM: Final = 0.07
_ROOM_ON_PHONES: Final = 0.22
# Up to which part of the longest bar a segment has no line beside it.
_THIN: Final = 0.004
_RIBBON_WIDTH: Final = 1000
_RIBBON_HEIGHT: Final = 32


class Segment(Struct, frozen=True):
    """A layer in a bar; `key` is unique in the page, and `style` the class that gives the pattern.

    `title` and `said` are texts: the name of the layer, and all that is to say of it. `link` is the
    fragment that the segment leads to, and `same` the key of the same layer in the bar above.
    """

    key: str
    size: int
    style: str
    title: str
    said: str
    link: str
    same: str | None = None


class Bar(Struct, frozen=True):
    """An image as a bar: its label and its layers, bottom first."""

    label: str
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """The size of all layers."""
        return sum(segment.size for segment in self.segments)


def bar_figure(bars: Sequence[Bar], legend: str, sheet: Sheet) -> str:
    """Return `bars` one above the other, to one scale, with ribbons between the same layers.

    `legend` is HTML.
    """
    longest = max(bar.size for bar in bars)
    parts = []
    above: dict[str, Span] = {}
    for number, bar in enumerate(bars):
        least = [_LEAST_CHANGED if s.style in _CHANGED else _LEAST for s in bar.segments]
        spans = segments([segment.size for segment in bar.segments], longest, least)
        label = f"{name(bar.label)} {element('span', size_text(bar.size), class_='soft')}"
        caption = element("p", label, class_="bar-label")
        drawn = _segments(bar, spans, sheet)
        if number:
            parts += [_ribbons(bar, spans, above), drawn, caption]
        else:
            parts += [caption, drawn] if len(bars) > 1 else [drawn]
        above = {segment.key: span for segment, span in zip(bar.segments, spans, strict=True)}
    return element("figure", "\n".join([*parts, element("figcaption", legend)]), class_="bars")


def _segments(bar: Bar, spans: Sequence[Span], sheet: Sheet) -> str:
    items = []
    for number, (segment, span) in enumerate(zip(bar.segments, spans, strict=True)):
        sheet.place(segment.key, left=100 * span.start, width=100 * span.length)
        label = ""
        if span.length >= _ROOM:
            figures = element("small", size_text(segment.size))
            room = None if span.length >= _ROOM_ON_PHONES else "wide"
            label = element("span", f"{name(segment.title)} {figures}", class_=room)
        link = element(
            "a",
            label,
            href=f"#{segment.link}",
            aria_label=segment.said,
            tabindex="0" if number == 0 else "-1",
        )
        style = f"{segment.style} thin" if span.length < _THIN else segment.style
        items.append(element("li", link, id=segment.key, class_=style))
    described = f"Layers of {isolated(bar.label)}, bottom first"
    return element("ol", "".join(items), class_="bar", aria_label=described)


def _ribbons(bar: Bar, spans: Sequence[Span], above: dict[str, Span]) -> str:
    shapes = []
    for segment, span in zip(bar.segments, spans, strict=True):
        if segment.same is not None and segment.same in above:
            shapes.append(_ribbon(above[segment.same], span, segment.style))
    return element(
        "svg",
        "".join(shapes),
        class_="ribbons",
        viewBox=f"0 0 {_RIBBON_WIDTH} {_RIBBON_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _ribbon(upper: Span, lower: Span, style: str) -> str:
    start, end = (_units(at) for at in (upper.start, upper.end))
    to, to_end = (_units(at) for at in (lower.start, lower.end))
    middle, bottom = _RIBBON_HEIGHT // 2, _RIBBON_HEIGHT
    path = (
        f"M{start} 0C{start} {middle} {to} {middle} {to} {bottom}"
        f"H{to_end}C{to_end} {middle} {end} {middle} {end} 0Z"
    )
    return element("path", d=path, class_=style)


def _units(part: float) -> str:
    return f"{_RIBBON_WIDTH * part:.2f}"
