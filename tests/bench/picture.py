"""Draw the recorded figures of nixdock beside other programs: `python -m tests.bench.picture`.

The picture is an SVG for the documentation. The same record gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from .record import Run, last_run

__all__ = ["COMPARISONS", "PICTURE", "RECORD", "drawn", "main"]

_IMAGES: Final = Path(__file__).parents[2] / "docs/images"
RECORD: Final = _IMAGES / "bench.json"
PICTURE: Final = _IMAGES / "bench.svg"

COMPARISONS: Final = {
    "two-pass tarfile / stream": ("Write the image as a stream", "tarfile, two passes"),
    "nix2container / build --dry-run": ("Compute the digests of all layers", "nix2container"),
    "skopeo / push, cold, gzip": ("Push everything, with gzip", "skopeo"),
    "skopeo / push, cold, zstd": ("Push everything, with zstd", "skopeo"),
    "skopeo / pull": ("Pull the image", "skopeo"),
    "docker load / load, app changed": ("Load an image whose app changed", "docker load"),
}
"""The ratios of another program's time to nixdock's: what both do, and what the other one is."""

_WIDTH: Final = 720
_LEFT, _RIGHT = 160, 90
_BAR, _GAP = 18, 4
_TOP, _HEADING, _ROW = 66, 22, 84
_BOTTOM: Final = 30
# Text has a contrast of more than 7 to the background, and bars of more than 3, in both schemes.
_STYLE: Final = """\
    text { font: 14px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .heading { font-weight: 600; }
    .note { font-size: 12px; fill: #454c54; }
    .ground { fill: #ffffff; }
    .own { fill: #1a6fb5; }
    .other { fill: #7d858e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #b4bcc5; }
      .ground { fill: #0d1117; }
      .own { fill: #4c9fe6; }
      .other { fill: #8b949e; }
    }"""


@dataclass(frozen=True)
class _Row:
    """What is done, and by whom in how many seconds; the last is nixdock."""

    heading: str
    other: str
    seconds: tuple[float, float]

    @property
    def summary(self) -> str:
        theirs, own = map(_seconds_text, self.seconds)
        return f"{self.heading}: nixdock {own}, {self.other} {theirs}."


def drawn(run: Run) -> str:
    """Return the picture of a run; raise SystemExit if nothing was compared in it."""
    rows = [*_rows(run.figures)]
    if not rows:
        raise SystemExit("no other program was measured, so there is nothing to draw")
    return "".join(f"{line}\n" for line in _lines(rows, _note(run)))


def _rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[_Row]:
    for name, (heading, other) in COMPARISONS.items():
        if name in figures and figures[name]["seconds"]:
            theirs, own = figures[name]["seconds"]
            yield _Row(heading, other, (theirs, own))


def _note(run: Run) -> str:
    settings, machine = run.settings, run.machine
    closure = "a closure of one's own"
    if isinstance(size := settings.get("bytes"), int):
        closure = f"{size / 1e6:,.0f} MB in {settings['paths']} store paths"
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return f"{closure}; {cores} ({machine['architecture']}); median times, measured in turn"


def _lines(rows: Sequence[_Row], note: str) -> Iterator[str]:
    height = _TOP + _ROW * len(rows) + _BOTTOM
    title = "nixdock beside other programs: shorter is better"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title desc">'
    )
    yield f'  <title id="title">{escape(title)}</title>'
    description = " ".join([*(row.summary for row in rows), f"Measured with {note}."])
    yield f'  <desc id="desc">{escape(description)}</desc>'
    yield f"  <style>\n{_STYLE}\n  </style>"
    yield f'  <rect class="ground" width="{_WIDTH}" height="{height}" rx="8"/>'
    yield _text(24, 38, title, "title")
    for number, row in enumerate(rows):
        yield from _row_lines(row, _TOP + _ROW * number)
    yield _text(24, height - 20, note, "note")
    yield "</svg>"


def _row_lines(row: _Row, top: int) -> Iterator[str]:
    yield _text(24, top + 14, row.heading, "heading")
    theirs, own = row.seconds
    longest = max(row.seconds)
    for place, (name, seconds, kind) in enumerate(
        (("nixdock", own, "own"), (row.other, theirs, "other"))
    ):
        y = top + _HEADING + place * (_BAR + _GAP)
        # No bar is too short to be seen.
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * seconds / longest)
        yield _text(_LEFT - 8, y + 14, name, "name", anchor="end")
        yield (
            f'  <rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"'
            ' rx="2"/>'
        )
        yield _text(f"{_LEFT + width + 8:.1f}", y + 14, _seconds_text(seconds), "value")


def _text(x: object, y: int, text: str, kind: str, anchor: str = "start") -> str:
    at = f'x="{x}" y="{y}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
    return f'  <text class="{kind}" {at}>{escape(text)}</text>'


def _seconds_text(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the last run of a record and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.picture", description=__doc__)
    parser.add_argument("record", type=Path, nargs="?", default=RECORD)
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    run = last_run(options.record)
    if run is None:
        raise SystemExit(f"{options.record} has no figures; `make bench-picture` measures them")
    options.output.write_text(drawn(run))
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
