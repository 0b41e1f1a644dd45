"""Images of one registry that are updated together, and what that costs with each way to plan them.

An image may be planned alone, with its own previous plan or none, or with the whole family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nixdock.layering.auto import plan_auto
from nixdock.layering.family import plan_family
from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure
from nixdock.nix.store_path import StorePath

from .replay import Cost, cost_of, previous_plan, successor
from .traces import Product, common_extra, due_together, extras_of

__all__ = ["FAMILY_SCHEMES", "FamilyCost", "changing_family", "family_steps", "replay_family"]

Products = Mapping[str, Product]
Closures = Mapping[str, Closure]
Plans = Mapping[str, LayerPlan]
Scheme = Callable[[Closures, int, Plans], Plans]
"""Plans the closures with a budget for each, after the plans of the generation before, if any."""


def _alone(closures: Closures, budget: int, _: Plans) -> Plans:
    return {name: plan_stable(closure, budget) for name, closure in closures.items()}


def _alone_with_previous(closures: Closures, budget: int, before: Plans) -> Plans:
    return {
        name: successor(closure, budget, before.get(name)) for name, closure in closures.items()
    }


def _family(closures: Closures, budget: int, _: Plans) -> Plans:
    return plan_family(closures, dict.fromkeys(closures, budget))


def _family_once(closures: Closures, budget: int, before: Plans) -> Plans:
    return (_alone_with_previous if before else _family)(closures, budget, before)


def _family_with_previous(closures: Closures, budget: int, before: Plans) -> Plans:
    if not before:
        return _family(closures, budget, before)
    newest, *others = [previous_plan(plan) for plan in before.values()]
    options = LayeringOptions(previous=newest, older=tuple(others))
    return plan_family(closures, dict.fromkeys(closures, budget), options)


FAMILY_SCHEMES: Mapping[str, Scheme] = {
    "auto, alone": lambda closures, budget, _: {
        name: plan_auto(closure, budget) for name, closure in closures.items()
    },
    "stable, alone": _alone,
    "stable+previous, alone": _alone_with_previous,
    "family each time": _family,
    "family once, then previous": _family_once,
    "family+previous": _family_with_previous,
}


@dataclass(frozen=True)
class FamilyCost:
    """The bytes of a family's layers, as multiples of those of its store paths.

    `first` and `last` are what the first and the last generation take up. `growth` is what the
    updates add to a registry that keeps all generations, `host` what they transfer to a machine
    that has the images of the generation before. `client`, `worst` and `chain` are for machines
    with one of the images: the geometric mean, the worst image, and the mean of Docker's classic
    storage.
    """

    first: float
    last: float
    growth: float
    host: float
    client: float
    worst: float
    chain: float


def with_equal_sizes(products: Products) -> Products:
    """Return the products with one size for each package: some graphs have rounded sizes."""
    sizes: dict[str, int] = {}
    for product in products.values():
        for package in product.packages.values():
            sizes.setdefault(package.name, package.size)
    return {
        name: replace(
            product,
            packages={k: replace(p, size=sizes[p.name]) for k, p in product.packages.items()},
        )
        for name, product in products.items()
    }


def family_steps(products: Products, steps: int, weeks: int = 4) -> Iterator[Products]:
    """Release the apps of all products every `weeks` weeks, with the updates of dependencies."""
    family = with_equal_sizes(products)
    for due in due_together(products.values(), steps, weeks):
        yield family
        family = {name: product.updated(*due) for name, product in family.items()}


def changing_family(products: Products, steps: int) -> Iterator[Products]:
    """Let packages come to single images, and to all, and an image come and another one go.

    The last of the products comes after a third of the steps, and the first goes after two thirds.
    """
    names = [*products]
    ours = {name: extras_of(product, 2) for name, product in products.items()}
    common = common_extra(products.values(), 12_000_000)
    for number, family in enumerate(family_steps(products, steps)):
        kept = names if number < 2 * steps // 3 else names[1:]
        kept = kept if number >= steps // 3 else kept[:-1]
        changed = {}
        for at, name in enumerate(kept):
            product = family[name]
            for extra in ours[name][: (number + at) % 3]:
                product = product.with_extra(next(iter(extra)), extra)
            if number >= steps // 2:
                product = product.with_extra(next(iter(common)), common)
            changed[name] = product
        yield changed


def replay_family(family: Sequence[Closures], budget: int, scheme: str) -> FamilyCost:
    """Return the cost of the updates from each generation of closures to the next."""
    plan = FAMILY_SCHEMES[scheme]
    pushed: dict[tuple[StorePath, ...], int] = {}
    stored: dict[StorePath, int] = {}
    sizes, growth, host, clients = [], [0, 0], [0, 0], dict[str, Cost]()
    before: Plans = {}
    for number, closures in enumerate(family):
        plans = plan(closures, budget, before)
        layers = {layer.paths: layer.nar_size for p in plans.values() for layer in p.layers}
        paths = {info.path: info.nar_size for c in closures.values() for info in c}
        sizes.append(sum(layers.values()) / sum(paths.values()))
        if number:
            old = family[number - 1]
            had = {layer.paths for p in before.values() for layer in p.layers}
            had_paths = {path for closure in old.values() for path in closure.infos}
            growth[0] += sum(size for layer, size in layers.items() if layer not in pushed)
            growth[1] += sum(size for path, size in paths.items() if path not in stored)
            host[0] += sum(size for layer, size in layers.items() if layer not in had)
            host[1] += sum(size for path, size in paths.items() if path not in had_paths)
            for name in before.keys() & plans.keys():
                cost = cost_of(old[name], before[name], closures[name], plans[name])
                clients[name] = clients.get(name, Cost()) + cost
        pushed |= layers
        stored |= paths
        before = plans
    pulled = [cost.pulled / cost.least for cost in clients.values()]
    return FamilyCost(
        first=sizes[0],
        last=sizes[-1],
        growth=growth[0] / growth[1],
        host=host[0] / host[1],
        client=_mean(pulled),
        worst=max(pulled),
        chain=_mean([cost.chain / cost.least for cost in clients.values()]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
