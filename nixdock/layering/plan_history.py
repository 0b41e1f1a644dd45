"""The previous plan of an image, and the counts of changes that its updates have taught."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from nixdock.errors import LayeringError
from nixdock.nix.store_path import StorePath

__all__ = [
    "ABBREVIATION",
    "MOST_COUNTED",
    "NEVER_SEEN",
    "ChangeCounts",
    "PlanHistory",
    "PreviousPlan",
    "abbreviated",
]

ABBREVIATION: Final = 8
"""The number of characters of an abbreviated hash."""

MOST_COUNTED: Final = 2**31 - 2
"""The greatest number of updates in a history: what is more is not counted."""


def abbreviated(path: StorePath) -> StorePath:
    """Return `path` with only the first characters of its hash, followed by zeros."""
    start = len(path.store_dir) + 1
    return StorePath(f"{path[: start + ABBREVIATION]:0<{start + 32}}{path[start + 32 :]}")


class ChangeCounts(Struct, frozen=True):
    """The number of updates before and after which the image had a package.

    `changed` of these `seen` updates changed the package itself.
    """

    seen: int
    changed: int


NEVER_SEEN: Final = ChangeCounts(0, 0)


class PlanHistory(Struct, frozen=True):
    """The number of updates of an image, `steps`; `app_only` of these changed only the app.

    `counts` has the counts of packages by their keys. A package that it lacks was seen by all
    updates and changed by none.
    """

    steps: int = 0
    app_only: int = 0
    counts: Mapping[str, ChangeCounts] = {}

    def __hash__(self) -> int:
        # A dictionary has no hash; plans that differ in it alone are rare.
        return hash((self.steps, self.app_only))

    @classmethod
    def of(cls, steps: int, app_only: int, counts: Mapping[str, ChangeCounts]) -> PlanHistory:
        """Return the history with `counts`, leaving out those that `of_package` implies."""
        usual = ChangeCounts(steps, 0)
        unusual = {key: c for key, c in sorted(counts.items()) if c != usual}
        return cls(steps, app_only, unusual)

    def of_package(self, key: str) -> ChangeCounts:
        """Return the counts of the package with this key, which the image must have."""
        return self.counts.get(key) or ChangeCounts(self.steps, 0)


class PreviousPlan(Struct, frozen=True):
    """The store layers of an image, bottom to top, with paths in order of packing; and its history.

    The hashes of paths may be abbreviated. Raise LayeringError if a store path is in the layers
    twice.
    """

    layers: tuple[tuple[StorePath, ...], ...]
    history: PlanHistory = PlanHistory()

    def __post_init__(self) -> None:
        seen: dict[StorePath, int] = {}
        for number, layer in enumerate(self.layers):
            for i, path in enumerate(layer):
                if path in seen:
                    key = f"layers[{number}].paths[{i}]"
                    raise LayeringError(
                        f"{key}: {path} is already in layers[{seen[path]}]", key=key, path=path
                    )
                seen[path] = number

    def completed(self, paths: Iterable[StorePath]) -> PreviousPlan:
        """Return the plan with those of `paths` that it has only abbreviated."""
        whole = {path for layer in self.layers for path in layer}
        complete = {abbreviated(path): path for path in paths if path not in whole}
        # Not by `replace`, which checks nothing with older releases of msgspec.
        return PreviousPlan(
            tuple(tuple(complete.get(path, path) for path in layer) for layer in self.layers),
            self.history,
        )
