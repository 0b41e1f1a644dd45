"""The options of layering strategies, besides the closure and the number of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from nixdock.layering.pipeline.operations import Operation
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["DEFAULT_OPTIONS", "DEFAULT_STRATEGY", "Group", "LayeringOptions"]

DEFAULT_STRATEGY: Final = "stable"


class Group(Struct, frozen=True):
    """The store paths of one layer of `explicit`: `paths`, and the closures of `closure_of`."""

    paths: tuple[StorePath, ...] = ()
    closure_of: tuple[StorePath, ...] = ()


class LayeringOptions(Struct, frozen=True):
    """The options of all strategies; each strategy ignores those that it doesn't use.

    `volatile` are paths that are known to change often, and `previous` is the plan of the image
    that this one replaces; `older` are the plans of other images that clients may have, the newest
    first. These three are for `stable`, and for families, whose plans need no order. `groups` are
    for `explicit`, and `rest` is the strategy by which it plans the paths outside the groups.
    `pipeline` is for `pipeline`.
    """

    volatile: frozenset[StorePath] = frozenset()
    previous: PreviousPlan | None = None
    older: tuple[PreviousPlan, ...] = ()
    groups: tuple[Group, ...] = ()
    rest: str = DEFAULT_STRATEGY
    pipeline: tuple[Operation, ...] | None = None

    def continuing(self, plans: Sequence[PreviousPlan]) -> LayeringOptions:
        """Return the options with `plans`, the newest first, in place of the previous ones."""
        return replace(self, previous=plans[0] if plans else None, older=tuple(plans[1:]))

    def for_closure(self, closure: Closure) -> LayeringOptions:
        """Return the options with paths of `closure` that the previous plans have abbreviated."""
        if self.previous is None:
            return self
        return replace(
            self,
            previous=self.previous.completed(closure.infos),
            older=tuple(plan.completed(closure.infos) for plan in self.older),
        )


DEFAULT_OPTIONS: Final = LayeringOptions()
