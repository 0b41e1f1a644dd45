"""A treemap: layers as frames, and their store paths as tiles in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from nixdock.page.geometry import Rectangle, tiles
from nixdock.page.markup import element, name, text
from nixdock.page.sheet import Sheet
from nixdock.system.text import size_text

__all__ = ["Frame", "Tile", "treemap"]

# The map is laid out for a screen; it is stretched to the shape that it gets.
_WIDTH: Final = 1080
_HEIGHT: Final = 560
_HEAD: Final = 20
_EDGE: Final = 3
# The least width and height of a frame with a head, and of a tile with a label.
_FRAME_WITH_HEAD: Final = (70, 60)
_TILE_WITH_LABEL: Final = (64, 20)
_TILE_WITH_SIZE: Final = (64, 40)
# From which width on a head or a label has room on a phone.
_WIDTH_ON_PHONES: Final = 190


class Tile(Struct, frozen=True):
    """A store path, or what else is in a layer.

    `title` and `said` are texts: its name, and all that is to say of it. `link` is the fragment
    that it leads to.
    """

    key: str
    size: int
    style: str
    title: str
    said: str
    link: str


class Frame(Struct, frozen=True):
    """A layer with its tiles."""

    key: str
    title: str
    style: str
    tiles: tuple[Tile, ...]

    @property
    def size(self) -> int:
        """The size of all tiles."""
        return sum(tile.size for tile in self.tiles)


def treemap(frames: Sequence[Frame], label: str, sheet: Sheet) -> str:
    """Return `frames` as a treemap; it is hidden from screen readers, which have the tables."""
    whole = Rectangle(0.0, 0.0, float(_WIDTH), float(_HEIGHT))
    areas = tiles([frame.size for frame in frames], whole)
    content = "\n".join(
        _frame(frame, area, sheet)
        for frame, area in zip(frames, areas, strict=True)
        if area.width > 0 and area.height > 0
    )
    return element("div", content, class_="treemap", aria_hidden="true", data_label=label)


def _frame(frame: Frame, area: Rectangle, sheet: Sheet) -> str:
    sheet.place(
        frame.key,
        left=100 * area.left / _WIDTH,
        top=100 * area.top / _HEIGHT,
        width=100 * area.width / _WIDTH,
        height=100 * area.height / _HEIGHT,
    )
    has_head = _fits(area, _FRAME_WITH_HEAD)
    head = ""
    if has_head:
        figures = element("small", size_text(frame.size))
        head = element("p", f"{text(frame.title)} {figures}", class_="head")
    inner = Rectangle(
        0.0,
        0.0,
        max(area.width - 2 * _EDGE, 1.0),
        max(area.height - _EDGE - (_HEAD if has_head else _EDGE), 1.0),
    )
    places = tiles([tile.size for tile in frame.tiles], inner)
    content = "".join(
        _tile(tile, place, inner, sheet)
        for tile, place in zip(frame.tiles, places, strict=True)
        if place.width > 0 and place.height > 0
    )
    style = f"frame {frame.style}"
    if has_head:
        style += " headed" if area.width >= _WIDTH_ON_PHONES else " headed narrow"
    return element(
        "div", head + element("div", content, class_="tiles"), id=frame.key, class_=style
    )


def _tile(tile: Tile, place: Rectangle, inner: Rectangle, sheet: Sheet) -> str:
    sheet.place(
        tile.key,
        left=100 * place.left / inner.width,
        top=100 * place.top / inner.height,
        width=100 * place.width / inner.width,
        height=100 * place.height / inner.height,
    )
    label = ""
    if _fits(place, _TILE_WITH_LABEL):
        label = name(tile.title)
        if _fits(place, _TILE_WITH_SIZE):
            label += element("small", size_text(tile.size))
        is_narrow = place.width < _WIDTH_ON_PHONES
        label = element("span", label, class_="wide" if is_narrow else None)
    return element(
        "a",
        label,
        id=tile.key,
        class_=tile.style,
        href=f"#{tile.link}",
        tabindex="-1",
        data_said=tile.said,
    )


def _fits(area: Rectangle, least: tuple[int, int]) -> bool:
    return area.width >= least[0] and area.height >= least[1]
