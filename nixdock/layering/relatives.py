"""Which plans of a previous family are those of which image, by what they have in common.

Neither names nor an order is needed, so images may come, go and be renamed. An image that has come
follows the plan of the image that it resembles most, whose layers machines and registries have.
Images for several platforms consist of the same packages; common store paths tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.layering.package_keys import package_keys

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

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
    before = [_Content.of(path for layer in plan.layers for path in layer) for plan in plans]
    newest = []
    for closure in closures:
        own = _Content.of(closure.infos)
        newest.append(max(range(len(plans)), key=lambda n: (*own.resemblance(before[n]), -n)))
    found = [[plans[n]] for n in newest]
    for n, plan in enumerate(plans):
        if n in newest or not closures:
            continue
        # An older version, or the plan of an image that has gone.
        similar = [before[n].resemblance(before[other]) for other in newest]
        nearest = similar.index(max(similar))
        if similar[nearest][0] >= _LEAST_COMMON:
            found[nearest].append(plan)
    return found


class _Content(Struct, frozen=True):
    """What is in an image: the keys of its packages, and its store paths."""

    packages: frozenset[str]
    paths: frozenset[StorePath]

    @classmethod
    def of(cls, paths: Iterable[StorePath]) -> _Content:
        keys = package_keys(paths)
        return cls(frozenset(keys), frozenset(keys.values()))

    def resemblance(self, other: _Content) -> tuple[float, int]:
        """Return the share of all packages of both that both have, and the number of paths."""
        common, all_ = self.packages & other.packages, self.packages | other.packages
        return len(common) / (len(all_) or 1), len(self.paths & other.paths)
