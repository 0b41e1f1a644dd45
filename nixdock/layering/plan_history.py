"""What earlier images have taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nixdock.errors import LayeringError
from nixdock.nix.store_path import StorePath

if TYPE_CHECKING:
    pass

__all__ = ["NEVER_SEEN", "ChangeCounts", "PlanHistory", "PreviousPlan"]


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """The updates that a package was there before and after, and those that changed it itself."""

    seen: int
    changed: int


NEVER_SEEN: Final = ChangeCounts(0, 0)


@dataclass(frozen=True, slots=True)
class PlanHistory:
    """The updates that an image has had, and those of the app alone among them.

    `counts` are the packages' by key; one that is not in it was there in all updates, and never
    changed by itself.
    """

    steps: int = 0
    app_only: int = 0
    counts: Mapping[str, ChangeCounts] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, steps: int, app_only: int, counts: Mapping[str, ChangeCounts]) -> PlanHistory:
        """Hold `counts`, less those that go without saying."""
        usual = ChangeCounts(steps, 0)
        told = {key: c for key, c in sorted(counts.items()) if c != usual}
        return cls(steps, app_only, told)

    def of_package(self, key: str) -> ChangeCounts:
        """Return the counts of a package that the image has."""
        return self.counts.get(key) or ChangeCounts(self.steps, 0)


@dataclass(frozen=True, slots=True)
class PreviousPlan:
    """The store layers of an image, bottom to top, their paths as packed, and its history."""

    layers: tuple[tuple[StorePath, ...], ...]
    history: PlanHistory = PlanHistory()

    def __post_init__(self) -> None:
        """Raise LayeringError if a store path is in two places."""
        seen: dict[StorePath, int] = {}
        for number, layer in enumerate(self.layers):
            for i, path in enumerate(layer):
                if path in seen:
                    key = f"layers[{number}].paths[{i}]"
                    raise LayeringError(
                        f"{key}: {path} is in layers[{seen[path]}] already", key=key, path=path
                    )
                seen[path] = number
