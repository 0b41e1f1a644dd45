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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING, Final

from nixdock.layering.reach import Reach

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = [
    "LAYER_OVERHEAD",
    "ChangeModel",
    "Rate",
    "model_of",
    "prior_model",
    "prior_rates",
    "usual_rate",
]

LAYER_OVERHEAD: Final = 20_000
"""The bytes that a layer costs beyond its paths: its headers, its descriptors, a request."""

_PRIOR_APP_SHARE: Final = 0.5
_DEEPEST_TOP: Final = 2
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

    `sizes` are those that plans go by, in the order of `reach`. `app_share` is the share of updates
    that concern the app alone; `top` are the paths that these change by themselves.
    """

    reach: Reach
    sizes: tuple[int, ...]
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


def prior_model(reach: Reach, depths: Mapping[StorePath, int]) -> ChangeModel:
    """Return the model of a closure of which nothing is known but its shape.

    Its sizes are coarse: a new version is a little larger or smaller, and if that alone moved
    paths to other layers, these would change for nothing.
    """
    sizes = tuple(1 << size.bit_length() for size in reach.sizes)
    return replace(model_of(reach, prior_rates(reach, depths), _PRIOR_APP_SHARE), sizes=sizes)


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
    return ChangeModel(reach, reach.sizes, tuple(found), app_share, top)


def _powers(base: float, count: int) -> tuple[float, ...]:
    powers = [1.0]
    for _ in range(count):
        powers.append(powers[-1] * base)
    return tuple(powers)


def _weight(rate: float) -> float:
    # -log(1 - rate) to within what an order needs, and the same on every machine.
    return 2.0 * rate / (2.0 - rate)


def prior_rates(reach: Reach, depths: Mapping[StorePath, int]) -> dict[StorePath, Rate]:
    """Return the rates to assume of a closure of which nothing is known but its shape."""
    usual = usual_rate(len(reach.order))
    rates = dict.fromkeys(reach.order, Rate(0.0, usual))
    for path, depth in depths.items():
        app = 0.9 * 0.5 ** min(depth, _DEEPEST_TOP)
        rates[path] = Rate(app, max(usual, 0.3 * app))
    return rates


def usual_rate(count: int) -> float:
    """Return the rate of a path in a closure of about `count`: two are updated at a time."""
    # As with sizes, one path more must not change every plan a little.
    return min(0.01, 2.0 / (1 << count.bit_length()))
