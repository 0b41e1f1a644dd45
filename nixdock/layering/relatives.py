"""Which plans of a previous family are those of which image, by what they have in common.

Neither names nor an order is needed, so images may come, go and be renamed. An image that has come
follows the plan of the image that it resembles most, whose layers machines and registries have.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from nixdock.layering.package_keys import package_keys

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure

__all__ = ["previous_by_image"]

_LEAST_COMMON: Final = 0.9
"""The share of packages that two versions of one image have in common at least."""


def previous_by_image(
    closures: Sequence[Closure], plans: Sequence[PreviousPlan]
) -> list[list[PreviousPlan]]:
    """Return the previous plans of each image, the newest first.

    The newest is the one that resembles the image most, or the first of several. The others are in
    the order of `plans`; each belongs to one image at most.
    """
    if not plans:
        return [[] for _ in closures]
    keys = [package_keys(closure.infos).keys() for closure in closures]
    plan_keys = [
        package_keys(path for layer in plan.layers for path in layer).keys() for plan in plans
    ]
    newest = [
        max(range(len(plans)), key=lambda n: (_resemblance(plan_keys[n], own), -n)) for own in keys
    ]
    found = [[plans[n]] for n in newest]
    for n, plan in enumerate(plans):
        if n in newest or not closures:
            continue
        # An older version, or the plan of an image that has gone.
        similar = [_resemblance(plan_keys[n], plan_keys[other]) for other in newest]
        nearest = similar.index(max(similar))
        if similar[nearest] >= _LEAST_COMMON:
            found[nearest].append(plan)
    return found


def _resemblance(left: AbstractSet[str], right: AbstractSet[str]) -> float:
    """Return the share of all packages of both that both have."""
    return len(left & right) / (len(left | right) or 1)
