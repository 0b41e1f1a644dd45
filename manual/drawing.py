"""Drawings in SVG that are legible on light and on dark pages, and for those who can't see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Segment", "bar", "card", "label", "ribbon"]

_STYLE: Final = """
  text { font-family: system-ui, "Segoe UI", "Noto Sans", sans-serif; font-size: 13px }
  .title { font-size: 17px; font-weight: 600 }
  .card { fill: #ffffff; stroke: #d0d7de }
  .text { fill: #1f2328 }
  .faint { fill: #59636e }
  .line { stroke: #59636e; fill: none }
  .kept { fill: #a9c3e0 }
  .new { fill: #f0994f }
  .ribbon { fill: #a9c3e0; opacity: 0.28 }
  .inside { fill: #14202c }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #3d444d }
    .text { fill: #f0f6fc }
    .faint { fill: #9198a1 }
    .line { stroke: #9198a1 }
    .kept { fill: #7f9fc2 }
    .new { fill: #e58a3c }
    .ribbon { fill: #7f9fc2 }
  }
"""
# New segments have stripes, too, for those who can't tell the colours apart.
_PATTERN: Final = (
    '<defs><pattern id="stripes" width="8" height="8" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)"><rect width="2" height="8" fill="#14202c" opacity="0.22"/>'
    "</pattern></defs>"
)
_CHARACTER: Final = 7.2
"""About the width of a character in a bar, in pixels."""


@dataclass(frozen=True)
class Segment:
    """A part of a bar: its size in any unit, its name, and `kept` or `new`."""

    name: str
    size: float
    status: str = "kept"


def card(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """Return a drawing on a card, which hides the colour of the page."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    inside = f'width="{width - 1}" height="{height - 1}"'
    accessible = 'role="img" aria-labelledby="title description"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {accessible}>',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            f"<style>{_STYLE}</style>",
            _PATTERN,
            f'<rect class="card" x="0.5" y="0.5" {inside} rx="10"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def label(x: float, y: float, text: str, style: str = "text", anchor: str = "start") -> str:
    """Return a line of text whose baseline is at `y`."""
    return (
        f'<text class="{style}" x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def bar(x: float, y: float, scale: float, height: float, segments: Iterable[Segment]) -> list[str]:
    """Return segments side by side, `scale` pixels for each unit, named where there is room."""
    parts = []
    for segment in segments:
        width = segment.size * scale
        # A gap between segments shows where a layer ends; a very small one is all gap.
        visible = max(width - 1, width / 2)
        box = f'x="{_px(x)}" y="{_px(y)}" width="{_px(visible)}" height="{_px(height)}"'
        parts.append(
            f'<rect class="{segment.status}" {box}><title>{escape(segment.name)}</title></rect>'
        )
        if segment.status == "new" and width > 4:
            parts.append(f'<rect fill="url(#stripes)" {box} pointer-events="none"/>')
        if len(segment.name) * _CHARACTER < width - 6:
            parts.append(
                label(x + width / 2, y + height / 2 + 4.5, segment.name, "inside", "middle")
            )
        x += width
    return parts


def ribbon(
    top: tuple[float, float], bottom: tuple[float, float], above: float, below: float
) -> str:
    """Return a band from a part of one bar, as (left, right), to one of the bar below it."""
    corners = [(top[0], above), (top[1], above), (bottom[1], below), (bottom[0], below)]
    points = " ".join(f"{_px(x)},{_px(y)}" for x, y in corners)
    return f'<polygon class="ribbon" points="{points}"/>'


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
