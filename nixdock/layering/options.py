"""What a layering strategy goes by, apart from the closure and the number of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nixdock.layering.pipeline.operations import Operation
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.store_path import StorePath

__all__ = ["DEFAULT_OPTIONS", "DEFAULT_STRATEGY", "Group", "LayeringOptions"]

DEFAULT_STRATEGY: Final = "stable"


@dataclass(frozen=True, slots=True)
class Group:
    """Store paths that the user wants in one layer: `paths`, and the closures of `closure_of`."""

    paths: tuple[StorePath, ...] = ()
    closure_of: tuple[StorePath, ...] = ()


@dataclass(frozen=True, slots=True)
class LayeringOptions:
    """What strategies go by; each reads what concerns it and ignores the rest.

    `volatile` are paths that are known to change often, `previous` is the plan of the image that
    this one replaces. `groups` are for `explicit`, and `rest` is its strategy for what they leave.
    `pipeline` is for the strategy of that name.
    """

    volatile: frozenset[StorePath] = frozenset()
    previous: PreviousPlan | None = None
    groups: tuple[Group, ...] = ()
    rest: str = DEFAULT_STRATEGY
    pipeline: tuple[Operation, ...] | None = None


DEFAULT_OPTIONS: Final = LayeringOptions()
