"""Problems of an image, and the two ways to handle them: raise the first, or collect them all.

A warning is a problem that some runtimes have with an image that others take, or a departure from
the specifications that all of them put up with.

The readers call a function with each problem. To use an image, pass `refuse`, which raises it. To
find all problems of an image, as `verify` does, pass the `append` of a list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["Complain", "Problem", "naming", "pass_on", "refuse"]

log = logging.getLogger(__name__)

_MOST_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and its place in the image; `digest` and `key` are those of `NixdockError`.

    A `warning` does not keep the image from being used.
    """

    place: str
    message: str
    digest: str | None = field(default=None, compare=False)
    key: str | None = field(default=None, compare=False)
    warning: bool = False

    def __str__(self) -> str:
        label = "warning: " if self.warning else ""
        return shown(f"{self.place}: {label}{self.message}", _MOST_SHOWN)


Complain = Callable[[Problem], object]
"""Takes a problem; if it returns, the caller continues with the rest of the image."""


class _RefusedError(ImageError):
    """A problem that `refuse` raised; its message names the place already."""


def refuse(problem: Problem, path: str | None = None) -> None:
    """Log a warning; raise ImageError for any other problem. `path` is the image's location."""
    # What is wrong with an archive as a whole names it already; elsewhere, a short path can be
    # a part of any word.
    is_named = problem.place == "archive" and path is not None and path in problem.message
    before = "" if path is None or is_named else f"{path}: "
    if problem.warning:
        log.warning("%s", shown(f"{before}{problem.place}: {problem.message}", _MOST_SHOWN))
        return
    raise _RefusedError(
        f"{before}{problem}",
        path=path,
        place=problem.place,
        digest=problem.digest,
        key=problem.key,
    )


def naming(path: str, complain: Complain) -> Complain:
    """Return `complain` for the image at `path`, which `refuse` names."""
    return partial(refuse, path=path) if complain is refuse else complain


def pass_on(error: ImageError, place: str, complain: Complain) -> None:
    """Call `complain` with the error as a problem; raise it again if `refuse` raised it."""
    if isinstance(error, _RefusedError):
        raise error
    complain(Problem(place, str(error), error.digest, error.key))
