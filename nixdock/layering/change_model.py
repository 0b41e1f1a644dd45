"""The probability that a layer changes with the next update, and the bytes that this costs.

A path changes if the path itself, or anything it refers to, directly or not, is updated; these
paths together are its *cone*. So a layer changes if anything in the union of its paths' cones is
updated, and then its bytes are transferred. There are two kinds of updates, and a plan must do
well in both: those that change only the app, that is, the paths at the top of the image, and those
that update dependencies.

Paths with the same rates form a class, so that the probability of a cone takes one bit count per
class. Probabilities are products in plain floating point, without logarithms, so that every machine
makes the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.layering.reach import Reach

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = [
    "LAYER_OVERHEAD",
    "ChangeModel",
    "Rate",
    "RateClass",
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


class Rate(Struct, frozen=True):
    """The probabilities that an update of the app, or any other update, changes a path itself."""

    app: float
    other: float


class RateClass(Struct, frozen=True):
    """The paths of one rate.

    `app_unchanged[n]` and `other_unchanged[n]` are the probabilities that an update changes none of
    n members itself.
    """

    members: int
    app_weight: float
    other_weight: float
    app_unchanged: tuple[float, ...]
    other_unchanged: tuple[float, ...]


@dataclass(frozen=True)
class ChangeModel:
    """The probabilities with which the paths of a closure change.

    `sizes` are the sizes to plan with, in the order of `reach`. `app_share` is the share of updates
    that change only the app. `top` is the set of paths that such an update may change itself.
    """

    reach: Reach
    sizes: tuple[int, ...]
    classes: tuple[RateClass, ...]
    app_share: float
    top: int

    @cached_property
    def _single_class(self) -> tuple[float, ...]:
        """The probability of a cone by its number of paths, if there is one class outside `top`."""
        (rates,) = self._classes_below_top
        dependency_share = 1.0 - self.app_share
        return tuple(dependency_share * (1.0 - unchanged) for unchanged in rates.other_unchanged)

    @cached_property
    def _classes_below_top(self) -> tuple[RateClass, ...]:
        return tuple(rates for rates in self.classes if not rates.members & self.top)

    @cached_property
    def has_one_class(self) -> bool:
        """Whether the paths outside `top` are all in one class, so that counting them is enough."""
        return len(self._classes_below_top) == 1

    def probability(self, cone: int) -> float:
        """Return the probability that an update changes a path of `cone` itself."""
        classes = self.classes
        if not cone & self.top:
            if self.has_one_class:
                return self._single_class[cone.bit_count()]
            classes = self._classes_below_top
        app = other = 1.0
        for rates in classes:
            count = (cone & rates.members).bit_count()
            if count:
                app *= rates.app_unchanged[count]
                other *= rates.other_unchanged[count]
        return self.app_share * (1.0 - app) + (1.0 - self.app_share) * (1.0 - other)

    def probabilities(self, cones: Sequence[int]) -> list[float]:
        """Return the probabilities of cones of which the last one contains all others."""
        if cones and not cones[-1] & self.top and self.has_one_class:
            by_count = self._single_class
            return [by_count[cone.bit_count()] for cone in cones]
        return [*map(self.probability, cones)]

    def union_probabilities(self, cone: int, others: Sequence[int]) -> list[float]:
        """Return the probabilities of the union of a cone with each of the others.

        There must be one class: then they take little time.
        """
        unions = [cone | other for other in others]
        top, by_count = self.top, self._single_class
        return [
            self.probability(union) if union & top else by_count[union.bit_count()]
            for union in unions
        ]

    def weight(self, cone: int) -> float:
        """Return the sum of the members' weights; unlike probabilities, weights can be added."""
        weight = 0.0
        for members, each in self._weights:
            weight += (cone & members).bit_count() * each
        return weight

    @cached_property
    def _weights(self) -> tuple[tuple[int, float], ...]:
        """The members of each class, and the weight of each of them."""
        return tuple(
            (
                rates.members,
                self.app_share * rates.app_weight + (1.0 - self.app_share) * rates.other_weight,
            )
            for rates in self.classes
        )

    def cost(self, size: int, cone: int) -> float:
        """Return the bytes that an update is expected to transfer for a layer."""
        return (size + LAYER_OVERHEAD) * self.probability(cone)


def prior_model(reach: Reach, depths: Mapping[StorePath, int]) -> ChangeModel:
    """Return the model of a closure of which only the graph and the sizes are known.

    Sizes are rounded up to powers of two: a new version is a little larger or smaller, and if that
    alone moved paths to other layers, these layers would change for nothing.
    """
    sizes = tuple(1 << size.bit_length() for size in reach.sizes)
    return replace(model_of(reach, prior_rates(reach, depths), _PRIOR_APP_SHARE), sizes=sizes)


def model_of(reach: Reach, rates: Mapping[StorePath, Rate], app_share: float) -> ChangeModel:
    """Return the model in which paths have `rates`, averaged within a few classes."""
    paths_by_class: dict[tuple[float, int], list[StorePath]] = {}
    for path in reach.order:
        rate = rates[path]
        interval = sum(1 for bound in _CLASS_BOUNDS if rate.other >= bound)
        paths_by_class.setdefault((rate.app, interval), []).append(path)
    classes = []
    top = 0
    for (app, _interval), paths in sorted(paths_by_class.items()):
        members = reach.bits(paths)
        other = fsum(rates[path].other for path in paths) / len(paths)
        classes.append(
            RateClass(
                members=members,
                app_weight=_weight(app),
                other_weight=_weight(other),
                app_unchanged=_powers(1.0 - app, len(paths)),
                other_unchanged=_powers(1.0 - other, len(paths)),
            )
        )
        if app:
            top |= members
    # The largest class first, and an order that does not depend on hashes: it decides how sums and
    # products are rounded.
    classes.sort(
        key=lambda rates: (-len(rates.app_unchanged), rates.app_weight, rates.other_weight)
    )
    return ChangeModel(reach, reach.sizes, tuple(classes), app_share, top)


def _powers(base: float, count: int) -> tuple[float, ...]:
    powers = [1.0]
    for _ in range(count):
        powers.append(powers[-1] * base)
    return tuple(powers)


def _weight(rate: float) -> float:
    # Approximates -log(1 - rate) closely enough for an order, and equally on every machine.
    return 2.0 * rate / (2.0 - rate)


def prior_rates(reach: Reach, depths: Mapping[StorePath, int]) -> dict[StorePath, Rate]:
    """Return the rates to assume for a closure of which only the graph is known.

    `depths` are the paths at the top of the image with their distance from the root.
    """
    usual = usual_rate(len(reach.order))
    rates = dict.fromkeys(reach.order, Rate(0.0, usual))
    for path, depth in depths.items():
        app = 0.9 * 0.5 ** min(depth, _DEEPEST_TOP)
        rates[path] = Rate(app, max(usual, 0.3 * app))
    return rates


def usual_rate(count: int) -> float:
    """Return the rate of a path among `count`, such that an update changes about two of them."""
    # Rounded: otherwise every plan would change a little when a path is added.
    return min(0.01, 2.0 / (1 << count.bit_length()))
