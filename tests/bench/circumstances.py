"""Circumstances that may spoil a memory, and what updates then cost.

An image grows while its layers are used up; its memory is missing, or is that of another image than
the one that clients have; two branches are deployed in turn; a rate that was learned stops being
true. Without a previous plan, none of these matters, so `stable` is what to compare with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure

from .replay import Cost, cost_of, previous_plan
from .traces import APP, Package, Product, extras_of, weekly_steps

__all__ = [
    "MEMORIES",
    "branches",
    "crowded_steps",
    "grown_steps",
    "joined",
    "quiet_steps",
    "replay_with_memory",
]

Find = Callable[[Sequence[LayerPlan]], Sequence[LayerPlan]]
"""Which plans of the images so far are the previous ones, the newest first."""


def _lost_every_fifth(plans: Sequence[LayerPlan]) -> Sequence[LayerPlan]:
    return [] if len(plans) % 5 == 0 else plans[-1:]


MEMORIES: Mapping[str, Find] = {
    "none": lambda _: [],
    "last": lambda plans: plans[-1:],
    "lost every fifth": _lost_every_fifth,
    "two versions back": lambda plans: plans[-2:-1],
    "last two": lambda plans: plans[:-3:-1],
    "two versions back, and last": lambda plans: plans[-2:],
    "last three": lambda plans: plans[:-4:-1],
}


def replay_with_memory(trace: Sequence[Closure], budget: int, memory: str) -> Cost:
    """Return the cost of the updates from each closure to the next, with plans of `stable`."""
    total = Cost()
    plans: list[LayerPlan] = []
    for number, closure in enumerate(trace):
        plan = planned(closure, budget, MEMORIES[memory](plans))
        if number:
            total += cost_of(trace[number - 1], plans[-1], closure, plan)
        plans.append(plan)
    return total


def planned(closure: Closure, budget: int, before: Sequence[LayerPlan]) -> LayerPlan:
    """Return the plan of `closure` after the plans `before`, the newest first."""
    if not before:
        return plan_stable(closure, budget)
    previous = [previous_plan(plan) for plan in before]
    return plan_stable(
        closure, budget, LayeringOptions(previous=previous[0], older=tuple(previous[1:]))
    )


def crowded_steps(steps: int) -> Iterator[Product]:
    """Add 40 libraries of 10 MB to 70 small ones, update one of them, and then only the app."""
    draw = random.Random(1)
    packages = {
        f"l{i:02}": _library(f"l{i:02}", draw.randrange(10**6, 17 * 10**5)) for i in range(70)
    }
    packages[APP] = Package("app-1.0", APP, 5_000_000, tuple(packages))
    product = Product("crowded", packages)
    yield product
    new = {f"n{i:02}": _library(f"n{i:02}", 10**7) for i in range(40)}
    app = replace(packages[APP], references=(*packages[APP].references, *new))
    product = replace(product, packages={**packages, **new, APP: app}).updated(APP)
    yield product
    product = product.updated("n07", APP)
    for _ in range(steps - 2):
        yield product
        product = product.updated(APP)


def _library(name: str, size: int) -> Package:
    return Package(f"{name}-1.0", name, size, ())


def quiet_steps(steps: int) -> Iterator[Product]:
    """Update five large packages again and again, and then one of them alone."""
    packages = {f"part{i}": _library(f"part{i}", 13_000_000 + i) for i in range(5)}
    packages |= {f"l{i:02}": _library(f"l{i:02}", 200_000 + i) for i in range(120)}
    packages[APP] = Package("app-1.0", APP, 1_000_000, tuple(packages))
    product = Product("quiet", packages)
    for number in range(steps):
        yield product
        is_late = number >= steps // 2
        product = product.updated(APP, *[f"part{i}" for i in range(1 if is_late else 5)])


def joined(product: Product, other: Product) -> Product:
    """Return `product` with the packages that only `other` has; the app refers to all of them."""
    app = product.packages[APP]
    references = {**dict.fromkeys(app.references), **dict.fromkeys(other.packages[APP].references)}
    packages = {**other.packages, **product.packages}
    packages[APP] = replace(app, references=tuple(references))
    return replace(product, packages=packages)


def grown_steps(product: Product, other: Product, before: int, after: int) -> Iterator[Product]:
    """Update a product `before` times, add `other` to it, and update it `after` times."""
    steps = [*weekly_steps(product, before)]
    yield from steps
    yield from weekly_steps(joined(steps[-1], other), after)


def branches(product: Product, rounds: int) -> Iterator[tuple[Product, Product]]:
    """Yield what is deployed in turn: main, and a branch with five more packages that is newer."""
    extras = extras_of(product, 5)
    for main, newer in zip(
        weekly_steps(product, rounds, 2),
        weekly_steps(replace(product, name=f"{product.name} branch"), rounds, 2),
        strict=True,
    ):
        branch = replace(
            newer,
            updates={
                key: max(main.updates.get(key, 0), newer.updates.get(key, 0))
                for key in {**main.updates, **newer.updates}
            },
        )
        for extra in extras:
            branch = branch.with_extra(next(iter(extra)), extra)
        yield main, branch
