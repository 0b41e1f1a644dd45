"""A line of the table of figures, and how it is made from measurements."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .measure import Ratio, Series

__all__ = ["Figure", "nixdock", "ratio_figure", "seconds_figure"]


@dataclass(frozen=True)
class Figure:
    """One line of the table; `ok` is None where there is no target.

    `value` is a number of seconds or bytes, or a ratio; less is better, unless the target is a
    least ratio. `seconds` are both times of which `value` is the ratio.
    """

    name: str
    measured: str
    value: float | None = None
    target: str = ""
    ok: bool | None = None
    seconds: tuple[float, float] | None = None


def ratio_figure(
    name: str, ratio: Ratio, *, most: float | None = None, least: float | None = None
) -> Figure:
    """Return the figure of a ratio, which may have a target."""
    measured = f"{ratio}: {ratio.a} / {ratio.b}"
    target, ok = "", None
    if most is not None:
        target, ok = f"<= {most:g}x", ratio.value <= most
    elif least is not None:
        target, ok = f">= {least:g}x", ratio.value >= least
    return Figure(name, measured, ratio.value, target, ok, (ratio.a.median, ratio.b.median))


def seconds_figure(name: str, times: Series, measured: str, *, most: float) -> Figure:
    """Return the figure of a time that has a target."""
    return Figure(name, measured, times.median, f"< {most:g} s", times.median < most)


def nixdock(*arguments: str) -> list[str]:
    """Return nixdock's command line: the installed program of this Python, if there is one."""
    program = shutil.which("nixdock", path=str(Path(sys.executable).parent))
    return [*([program] if program else [sys.executable, "-m", "nixdock"]), *arguments]
