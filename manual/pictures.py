"""`python -m manual.pictures [--check]`: draw `docs/images`, and print the figures in them.

All sizes are those of recorded reference graphs in `tests/data/graphs`, as store paths before
compression, and of plans that nixdock makes of them. With `--check`, nothing is written, and the
exit status is 1 if a picture differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manual.drawing import Segment, bar, card, label, ribbon
from manual.scene import released
from nixdock.layering.plan import LayerPlan
from nixdock.nix.store_path import StorePath
from nixdock.system.text import size_text
from tests.bench.replay import STRATEGIES, cost_of

__all__ = ["IMAGES", "main", "pictures"]

IMAGES: Final = Path(__file__).parents[1] / "docs/images"

_WIDTH: Final = 880
_LEFT: Final = 24
_SPAN: Final = _WIDTH - 2 * _LEFT
_LAYERS: Final = 25
"""The most layers in the picture of strategies: fewer layers, more differences."""
_STRATEGIES: Final = {
    "popularity": "popularity, the former default of dockerTools",
    "auto": "auto, the default of dockerTools",
    "stable+previous": "stable, the default of nixdock",
}


@dataclass(frozen=True)
class Update:
    """The layers of the new image of an update, and the bytes of those that are transferred."""

    old: LayerPlan
    new: LayerPlan
    transferred: int

    @property
    def size(self) -> int:
        """The bytes of all layers of the new image."""
        return sum(layer.nar_size for layer in self.new.layers)

    def segments(self) -> tuple[list[Segment], list[Segment]]:
        """Return the layers of the old image and of the new one, bottom to top."""
        known = {layer.paths for layer in self.old.layers}
        return _segments(self.old, known), _segments(self.new, known)


def update_by(strategy: str, most_layers: int) -> Update:
    """Return what a release of the app changes, with a strategy of `tests.bench.replay`."""
    old, new = released()
    budget = most_layers - 1  # the top layer counts
    before = STRATEGIES[strategy](old, budget, None)
    after = STRATEGIES[strategy](new, budget, before)
    return Update(before, after, cost_of(old, before, new, after).pulled)


def pictures() -> dict[str, str]:
    """Return the pictures by the names of their files."""
    return {
        "update.svg": _update_picture(update_by("stable+previous", 100)),
        "strategies.svg": _strategies_picture(),
        "closure.svg": _closure_picture(),
    }


def _update_picture(update: Update) -> str:
    count, size, moved = (
        len(update.new.layers),
        size_text(update.size),
        size_text(update.transferred),
    )
    share = f"{update.transferred / update.size:.0%}".replace("%", " %")
    title = f"An update moves {moved} of {size}"
    old, new = update.segments()
    scale = _SPAN / max(update.size, sum(segment.size for segment in old))
    kept = sum(segment.size for segment in old if segment.name != "app") * scale
    description = (
        "Two bars, one above the other, show the layers of an image before and after a release of"
        f" its app, to scale. {count} layers have {size}. All layers below the app are the same;"
        f" only the app's, {moved} or {share} of the image, are new."
    )
    parts = [
        label(_LEFT, 38, title, "title text"),
        label(
            _LEFT, 60, f"Python with SciPy and an app, in {count} layers of a Nix closure", "faint"
        ),
        label(_LEFT, 92, "version 1"),
        *bar(_LEFT, 100, scale, 46, old),
        ribbon((_LEFT, _LEFT + kept), (_LEFT, _LEFT + kept), 146, 184),
        label(
            _LEFT + kept / 2,
            169,
            "the same layers: nothing is read, packed or sent",
            "faint",
            "middle",
        ),
        *bar(_LEFT, 184, scale, 46, new),
        label(_LEFT, 248, "version 2"),
        *_legend(_LEFT + _SPAN - 222, 250),
    ]
    return card(_WIDTH, 268, title, description, parts)


def _strategies_picture() -> str:
    updates = {text: update_by(name, _LAYERS) for name, text in _STRATEGIES.items()}
    size = next(iter(updates.values())).size
    rows = [("one layer for everything", [Segment("everything", size, "new")], size)]
    rows += [(text, each.segments()[1], each.transferred) for text, each in updates.items()]
    title = "The same update, with the store paths in other layers"
    amounts = "; ".join(f"{text}: {size_text(moved)}" for text, _, moved in rows)
    description = (
        f"Bars show the new image of {size_text(size)} after a release of its app, in at most"
        f" {_LAYERS} layers. Transferred are, with {amounts}."
    )
    parts = [
        label(_LEFT, 38, title, "title text"),
        label(_LEFT, 60, f"Python with SciPy and an app, in at most {_LAYERS} layers", "faint"),
    ]
    y = 92
    for text, segments, moved in rows:
        parts += [
            label(_LEFT, y, text),
            label(_LEFT + _SPAN, y, f"moves {size_text(moved)}", "text", "end"),
            *bar(_LEFT, y + 8, _SPAN / size, 34, segments),
        ]
        y += 70
    parts += _legend(_LEFT + _SPAN - 222, y - 6)
    return card(_WIDTH, y + 16, title, description, parts)


def _legend(
    x: float, y: float, texts: tuple[str, str] = ("kept", "new, transferred"), step: float = 90
) -> list[str]:
    parts = []
    for status, text in zip(("kept", "new"), texts, strict=True):
        parts += [*bar(x, y - 11, 15, 13, [Segment("", 1, status)]), label(x + 21, y, text)]
        x += step
    return parts


_BOXES: Final = {
    "app": (220, 92),
    "config": (66, 92),
    "python": (220, 160),
    "openssl": (66, 228),
    "libc": (220, 296),
}
_REFERENCES: Final = (
    ("app", "python"),
    ("app", "config"),
    ("python", "openssl"),
    ("python", "libc"),
    ("openssl", "libc"),
)
_STACK: Final = (
    ("the image's own files", "links and files at /"),
    ("app, config", "change together"),
    ("python", "large: alone"),
    ("openssl", "updated often: alone"),
    ("libc", "needed by all: at the bottom"),
)


_TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path class="line" d="M0,0 L8,4 L0,8"/></marker></defs>'
)


def _closure_picture() -> str:
    title = "From a closure to layers"
    description = (
        "On the left, a graph: the store path app refers to config and to python, python to openssl"
        " and libc, openssl to libc. Together they are the closure of app. On the right, the layers"
        " of the image, from top to bottom: "
        + "; ".join(f"{name} ({why})" for name, why in _STACK)
        + "."
    )
    parts = [
        _TIP,
        label(_LEFT, 38, title, "title text"),
        label(_LEFT, 66, "store paths and what they refer to", "faint"),
        label(460, 66, "layers, bottom to top", "faint"),
    ]
    for start, end in _REFERENCES:
        (x, y), (to_x, to_y) = _BOXES[start], _BOXES[end]
        beside = y == to_y
        ends = (x, y + 18, to_x + 100, to_y + 18) if beside else (x + 50, y + 36, to_x + 50, to_y)
        points = "x1={} y1={} x2={} y2={}".format(*(f'"{each}"' for each in ends))
        parts.append(f'<line class="line" {points} marker-end="url(#tip)"/>')
    for name, (x, y) in _BOXES.items():
        status = "new" if name in ("app", "config") else "kept"
        parts += bar(x, y, 101, 36, [Segment(name, 1, status)])
    for number, (name, why) in enumerate(_STACK):
        y = 84 + number * 52
        status = "new" if number < 2 else "kept"
        parts += bar(460, y, 191, 44, [Segment(name, 1, status)])
        parts.append(label(666, y + 27, why, "faint"))
    parts += _legend(_LEFT + _SPAN - 396, 368, ("kept by a release of the app", "new with it"), 220)
    return card(_WIDTH, 388, title, description, parts)


def _segments(plan: LayerPlan, known: set[tuple[StorePath, ...]]) -> list[Segment]:
    return [
        Segment(
            _name(layer.paths),
            layer.nar_size,
            "kept" if layer.paths in known else "new",
        )
        for layer in plan.layers
    ]


def _name(paths: Sequence[StorePath]) -> str:
    """Return the name of a layer's only store path without its version, or a number of them."""
    if len(paths) > 1:
        return f"{len(paths)} paths"
    words = paths[0].name.split("-")
    version = next((n for n, word in enumerate(words) if n and word[:1].isdigit()), len(words))
    return "-".join(words[:version])


def main(arguments: Sequence[str]) -> int:
    """Write or check the pictures, print the figures, and return the exit status."""
    differing = []
    for name, text in pictures().items():
        file = IMAGES / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        differing.append(name)
        if "--check" not in arguments:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
    for most_layers, strategy in [(100, "stable+previous"), *((_LAYERS, s) for s in _STRATEGIES)]:
        update = update_by(strategy, most_layers)
        moved, size = size_text(update.transferred), size_text(update.size)
        print(f"{strategy}, at most {most_layers} layers: an update moves {moved} of {size}")
    for name in differing:
        print(f"{'differs' if '--check' in arguments else 'drawn'}: docs/images/{name}")
    return int("--check" in arguments and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
