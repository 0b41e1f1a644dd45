"""What is wrong with an image, and what becomes of it: an error at once, or an entry in a list.

The readers call a function with each problem that they find. `refuse` raises it, which is how an
image is read that is to be used; a list's `append` lets them go on, which is how `verify` finds
all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["Complain", "Problem", "pass_on", "refuse"]

_MOST_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, and where in the image."""

    place: str
    message: str

    def __str__(self) -> str:
        return shown(f"{self.place}: {self.message}", _MOST_SHOWN)


Complain = Callable[[Problem], object]
"""Takes a problem; if it returns, its caller goes on with whatever is left to read."""


class _RefusedError(ImageError):
    """A problem that was raised, and names its place already."""


def refuse(problem: Problem) -> None:
    """Raise ImageError for `problem`."""
    raise _RefusedError(str(problem))


def pass_on(error: ImageError, place: str, complain: Complain) -> None:
    """Make a problem of an error that was caught; what `refuse` raised is raised further."""
    if isinstance(error, _RefusedError):
        raise error
    complain(Problem(place, str(error)))
