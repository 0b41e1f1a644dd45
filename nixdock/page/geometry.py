"""Where things lie: the segments of a bar and the tiles of a treemap, by their sizes.

Only additions, multiplications and divisions of floats are used, which give the same result on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

__all__ = ["Rectangle", "Span", "segments", "tiles"]

# All least parts of a bar together take at most this part of it, so that it stays to scale.
_MOST_LEAST: Final = 0.2


class Span(Struct, frozen=True):
    """A part of a bar, as fractions of the longest bar."""

    start: float
    length: float

    @property
    def end(self) -> float:
        """Where the next part starts."""
        return self.start + self.length


class Rectangle(Struct, frozen=True):
    """A part of an area; the units are the caller's."""

    left: float
    top: float
    width: float
    height: float


def segments(sizes: Sequence[int], longest: int, least: Sequence[float]) -> tuple[Span, ...]:
    """Divide a bar, whose length is that of `sizes` together, into a span for each of them.

    `longest` is the size of a bar of length 1. `least` has the length that each span has at least,
    as a fraction of the longest bar, so that it can be seen; the others get shorter by as much.
    """
    longest = max(longest, 1)
    scale = min(1.0, _MOST_LEAST / max(sum(least), _MOST_LEAST))
    lengths = [max(size / longest, part * scale) for size, part in zip(sizes, least, strict=True)]
    whole = max(sum(sizes) / longest, sum(least) * scale)
    stretch = min(whole, 1.0) / sum(lengths) if any(lengths) else 1.0
    spans = []
    start = 0.0
    for length in lengths:
        spans.append(Span(start, length * stretch))
        start = spans[-1].end
    return tuple(spans)


def tiles(sizes: Sequence[int], area: Rectangle) -> tuple[Rectangle, ...]:
    """Divide `area` into a rectangle for each of `sizes`, in proportion, and as square as possible.

    The squarified treemap of Bruls, Huizing and van Wijk: rows of tiles along the shorter side, the
    largest first; a row ends where one more tile would make its worst tile longer.
    """
    found = [Rectangle(area.left, area.top, 0.0, 0.0)] * len(sizes)
    order = sorted((i for i, size in enumerate(sizes) if size > 0), key=lambda i: (-sizes[i], i))
    left = sum(sizes)
    while order:
        count = _row_length([sizes[i] for i in order], left, area)
        row, order = order[:count], order[count:]
        row_size = sum(sizes[i] for i in row)
        part = row_size / left
        left -= row_size
        start = 0.0
        for i in row:
            length = sizes[i] / row_size
            found[i] = _tile(area, part, start, length)
            start += length
        area = _rest(area, part)
    return tuple(found)


def _row_length(sizes: Sequence[int], total: int, area: Rectangle) -> int:
    """Return how many of `sizes`, which fill `area` together, are in its first row."""
    long, short = max(area.width, area.height), min(area.width, area.height)
    row = 0
    worst = math.inf
    for count, size in enumerate(sizes):
        row += size
        thickness = long * row / total
        if not thickness:
            # Too small to be told apart.
            return len(sizes)
        # The first tile is the longest along the row, and the last one the shortest.
        longest, shortest = short * sizes[0] / row, short * size / row
        worst_now = max(longest / thickness, thickness / shortest)
        if worst_now > worst:
            return count
        worst = worst_now
    return len(sizes)


def _tile(area: Rectangle, part: float, start: float, length: float) -> Rectangle:
    """Return a tile of a row that takes `part` of `area`, by the fractions of the row it is at."""
    if area.width >= area.height:
        height = area.height
        return Rectangle(area.left, area.top + height * start, area.width * part, height * length)
    width = area.width
    return Rectangle(area.left + width * start, area.top, width * length, area.height * part)


def _rest(area: Rectangle, part: float) -> Rectangle:
    """Return what is left of `area` without a row that takes `part` of it."""
    if area.width >= area.height:
        width = area.width * part
        return Rectangle(area.left + width, area.top, max(area.width - width, 0.0), area.height)
    height = area.height * part
    return Rectangle(area.left, area.top + height, area.width, max(area.height - height, 0.0))
