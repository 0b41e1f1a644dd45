"""The store paths that the command of an image names, also by links such as /bin/app."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nixdock.read.report import ImageReport
    from nixdock.view.model import ImageView

__all__ = ["links_of", "named_by_command"]

_STORE_PATH: Final = re.compile(r"(/[^\s:=]+?/[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+\-._?=]{1,211})")
# As many as Linux follows.
_MOST_LINKS: Final = 40


def links_of(report: ImageReport) -> dict[str, str]:
    """Return the symlinks outside of store paths; those of upper layers count."""
    return {path: target for layer in report.layers for path, target in layer.links.items()}


def named_by_command(view: ImageView, links: Mapping[str, str]) -> list[str]:
    """Return the store paths of an image that its command names.

    The program counts also if it is found through `links`. What only PATH leads to does not.
    """
    paths = {path.path for path in view.paths()}
    words = [_resolved(word, links) for word in view.command[:1]] + [*view.command[1:]]
    named = (found for word in words for found in _STORE_PATH.findall(word))
    return [path for path in named if path in paths]


def _resolved(path: str, links: Mapping[str, str]) -> str:
    """Return an absolute path behind all links that lead to it."""
    for _ in range(_MOST_LINKS):
        for link in _above(path):
            if link in links:
                target = posixpath.join(posixpath.dirname(link), links[link])
                path = posixpath.normpath(target + path[len(link) :])
                break
        else:
            break
    return path


def _above(path: str) -> list[str]:
    """Return the directories above a path, from the root down, and the path itself."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
