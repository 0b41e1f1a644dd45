"""How likely it is that a layer changes with the next update, and what that costs.

A path changes when it or anything that it refers to, its cone, is changed by itself. So a layer
changes with the probability that anything in the union of its paths' cones does, and it then costs
its bytes. There are two kinds of updates, and a plan must do well in both: in one, just the app is
changed, the paths at the top of the image; in the other, dependencies are updated.

Paths with the same probabilities form a class, so that weighing a cone takes one count of bits per
class. Probabilities are products in plain floating point, without logarithms, so that every machine
comes to the same plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING, Final

from nixdock.layering.reach import Reach, name_then_path

if TYPE_CHECKING:
    from nixdock.store_path import StorePath

__all__ = [
    "LAYER_OVERHEAD",
    "PRIOR_APP_SHARE",
    "ChangeModel",
    "Rate",
    "model_of",
    "prior_rates",
    "top_depths",
    "usual_rate",
]

LAYER_OVERHEAD: Final = 20_000
"""The bytes that a layer costs beyond its paths: its headers, its descriptors, a request."""

PRIOR_APP_SHARE: Final = 0.5
"""The share of updates that concern the app alone, as long as nothing is known."""

_TOP_DEPTH: Final = 3
_MOST_APP_ROOTS: Final = 3
_CLASS_BOUNDS: Final = (0.003, 0.006, 0.0125, 0.025, 0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Rate:
    """How likely a path is changed by itself, in an update of the app and in one of the others."""

    app: float
    other: float


@dataclass(frozen=True, slots=True)
class _RateClass:
    """The paths of one rate, and the chance that none of N of them changes, for each N."""

    members: int
    app_weight: float
    other_weight: float
    app_calm: tuple[float, ...]
    other_calm: tuple[float, ...]


@dataclass(frozen=True)
class ChangeModel:
    """The probabilities of changes of a closure's paths.

    `app_share` is the share of updates that concern the app alone; `top` are the paths that these
    change by themselves.
    """

    reach: Reach
    classes: tuple[_RateClass, ...]
    app_share: float
    top: int

    @cached_property
    def _usual(self) -> tuple[float, ...]:
        """The probabilities of cones by how many paths they have, all of the only other class."""
        (usual,) = self._others
        rest = 1.0 - self.app_share
        return tuple(rest * (1.0 - calm) for calm in usual.other_calm)

    @cached_property
    def _others(self) -> tuple[_RateClass, ...]:
        return tuple(rates for rates in self.classes if not rates.members & self.top)

    def probability(self, cone: int) -> float:
        """Return how likely an update changes what has this cone."""
        classes = self.classes
        if not cone & self.top:
            classes = self._others
            if len(classes) == 1:
                return self._usual[cone.bit_count()]
        app = other = 1.0
        for rates in classes:
            count = (cone & rates.members).bit_count()
            if count:
                app *= rates.app_calm[count]
                other *= rates.other_calm[count]
        return self.app_share * (1.0 - app) + (1.0 - self.app_share) * (1.0 - other)

    def weight(self, cone: int) -> float:
        """Return the sum of the members' rates, which, unlike probabilities, add up."""
        weight = 0.0
        for rates in self.classes:
            count = (cone & rates.members).bit_count()
            weight += count * (
                self.app_share * rates.app_weight + (1.0 - self.app_share) * rates.other_weight
            )
        return weight

    def cost(self, size: int, cone: int) -> float:
        """Return the bytes that a layer is expected to cost in an update."""
        return (size + LAYER_OVERHEAD) * self.probability(cone)


def model_of(reach: Reach, rates: Mapping[StorePath, Rate], app_share: float) -> ChangeModel:
    """Return the model in which paths have `rates`, rounded to a few classes."""
    classes: dict[tuple[float, int], list[StorePath]] = {}
    for path in reach.order:
        rate = rates[path]
        kind = sum(1 for bound in _CLASS_BOUNDS if rate.other >= bound)
        classes.setdefault((rate.app, kind), []).append(path)
    found = []
    top = 0
    for (app, _kind), paths in sorted(classes.items()):
        members = reach.bits(paths)
        other = fsum(rates[path].other for path in paths) / len(paths)
        found.append(
            _RateClass(
                members=members,
                app_weight=_weight(app),
                other_weight=_weight(other),
                app_calm=_powers(1.0 - app, len(paths)),
                other_calm=_powers(1.0 - other, len(paths)),
            )
        )
        if app:
            top |= members
    # Most paths are in the largest class.
    found.sort(key=lambda rates: (-len(rates.app_calm), rates.app_weight, rates.other_weight))
    return ChangeModel(reach, tuple(found), app_share, top)


def _powers(base: float, count: int) -> tuple[float, ...]:
    powers = [1.0]
    for _ in range(count):
        powers.append(powers[-1] * base)
    return tuple(powers)


def _weight(rate: float) -> float:
    # -log(1 - rate) to within what an order needs, and the same on every machine.
    return 2.0 * rate / (2.0 - rate)


def top_depths(reach: Reach, volatile: Collection[StorePath] = ()) -> dict[StorePath, int]:
    """Return the paths at the top of the image, and how far below its roots they are at most.

    Of an image with many roots, which is an environment rather than an app, the root with the
    largest closure counts as the app's; declared `volatile` paths always count.
    """
    depths = dict.fromkeys(_app_roots(reach), 0)
    for path in reach.order:
        if path in depths:
            below = min(depths[path], _TOP_DEPTH) + 1
            for reference in reach.closure[path].references:
                if reference != path:
                    depths[reference] = max(depths.get(reference, 0), below)
    depths.update(dict.fromkeys(volatile, 0))
    return {path: depth for path, depth in depths.items() if depth <= _TOP_DEPTH}


def _app_roots(reach: Reach) -> tuple[StorePath, ...]:
    roots = reach.closure.roots
    if len(roots) <= _MOST_APP_ROOTS:
        return roots
    return (min(roots, key=lambda root: (-reach.size(reach.cone([root])), name_then_path(root))),)


def prior_rates(reach: Reach, depths: Mapping[StorePath, int]) -> dict[StorePath, Rate]:
    """Return the rates to assume of a closure of which nothing is known but its shape."""
    usual = usual_rate(len(reach.order))
    rates = dict.fromkeys(reach.order, Rate(0.0, usual))
    for path, depth in depths.items():
        app = 0.9 * 0.5**depth
        rates[path] = Rate(app, max(usual, 0.3 * app))
    return rates


def usual_rate(count: int) -> float:
    """Return the rate of a path in a closure of `count`: two of them are updated at a time."""
    return min(0.01, 2.0 / max(count, 1))
