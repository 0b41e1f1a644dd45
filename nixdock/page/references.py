"""References between the store paths of an image: what refers to what, and why a path is there."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from nixdock.view.chains import steps
from nixdock.view.model import ImageView, PathView

__all__ = ["References", "references_of"]


class References(Struct, frozen=True):
    """The references of an image, in both directions; `keys` name the rows of the store paths.

    `through` is the referrer of each path that comes before it on the shortest chain from the app.
    """

    paths: Mapping[str, PathView]
    keys: Mapping[str, str]
    below: Mapping[str, tuple[str, ...]]
    above: Mapping[str, tuple[str, ...]]
    through: Mapping[str, str]

    def chain(self, path: str) -> list[str]:
        """Return the shortest chain of references from the app to `path`, with both ends."""
        found = [path]
        while found[-1] in self.through:
            found.append(self.through[found[-1]])
        return found[::-1]


def references_of(image: ImageView, prefix: str) -> References:
    """Return the references of `image`; the keys of its paths begin with `prefix`."""
    paths: dict[str, PathView] = {}
    for path in image.paths():
        # A path may be in several layers.
        paths.setdefault(path.path, path)
    below = {
        path.path: tuple(other for other in path.references or () if other in paths)
        for path in paths.values()
    }
    above: dict[str, list[str]] = {path: [] for path in paths}
    for referrer, others in below.items():
        for other in others:
            above[other].append(referrer)
    return References(
        paths=paths,
        keys={path: f"{prefix}{number}" for number, path in enumerate(paths, 1)},
        below=below,
        above={path: tuple(found) for path, found in above.items()},
        through={path: before for path, before in steps(image).items() if before is not None},
    )
