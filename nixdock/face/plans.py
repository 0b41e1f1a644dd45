"""Layer plans: making, comparing, explaining and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import store_layer_budget
from nixdock.layering.strategies import Layering
from nixdock.oci.limits import MOST_LAYERS

if TYPE_CHECKING:
    from nixdock.layering.comparison import Comparison
    from nixdock.layering.explain import Explanation
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.location import Place
    from nixdock.registry.access import Access

__all__ = [
    "compare_plans",
    "explain_path",
    "plan_document",
    "plan_family",
    "plan_layers",
    "read_previous",
]


def plan_layers(
    closure: Closure, *, layering: Layering | None = None, max_layers: int = 100
) -> LayerPlan:
    """Return which store paths of `closure` share a layer, bottom to top.

    `layering` is the strategy with its options, `stable` by default. `max_layers` is the limit of
    the finished image, including its top layer; the strategy `pipeline` sets its own limit. Raise
    PlanError if no plan fits, LayeringError if the options are not valid for the strategy.
    """
    layering = layering or Layering()
    return layering.plan(closure, layering.budget(max_layers, most_layers=MOST_LAYERS))


def plan_family(
    closures: Mapping[str, Closure],
    *,
    max_layers: int | Mapping[str, int] = 100,
    volatile: Iterable[StorePath] = (),
    previous: Iterable[PreviousPlan] = (),
) -> dict[str, LayerPlan]:
    """Plan several images together, so that they share layers, and return each image's plan.

    `closures` has the closure of each image by the image's name. `max_layers` is the limit of every
    finished image, or maps each name to its limit; the top layer counts. `volatile` are store paths
    that change often. `previous` are the plans of the images that these replace, in any order, but
    of several versions of one image the newest first; layers that are still whole are kept. Raise
    PlanError if a limit leaves no room, ClosureError if the closures contradict each other.
    """
    from nixdock.layering import family

    limits = dict.fromkeys(closures, max_layers) if isinstance(max_layers, int) else max_layers
    budgets = {
        name: store_layer_budget(min(limits[name], MOST_LAYERS))
        for name in closures
        if name in limits
    }
    plans = tuple(previous)
    options = LayeringOptions(
        volatile=frozenset(volatile), previous=plans[0] if plans else None, older=plans[1:]
    )
    return family.plan_family(closures, budgets, options)


def compare_plans(
    closure: Closure, plans: Mapping[str, LayerPlan], *, volatile: Iterable[StorePath] = ()
) -> Comparison:
    """Return how many bytes updates would transfer with each of `plans` of `closure`.

    The names of the plans are the caller's. Sizes are those of NARs. `volatile` are the store paths
    that an update changes; by default, they are guessed from the closure.
    """
    from nixdock.layering import comparison

    return comparison.compare_plans(closure, plans, tuple(volatile))


def explain_path(
    closure: Closure, path: StorePath, *, layering: Layering | None = None, max_layers: int = 100
) -> Explanation:
    """Return which layer `plan_layers` puts `path` into, and why.

    The other arguments are those of `plan_layers`. Raise ClosureError if `path` is not in the
    closure, or what `plan_layers` raises.
    """
    from nixdock.layering.explain import explain

    layering = layering or Layering()
    budget = layering.budget(max_layers, most_layers=MOST_LAYERS)
    return explain(closure, layering.plan(closure, budget), layering, budget, path)


def plan_document(plan: LayerPlan, strategy: str) -> dict[str, Any]:
    """Return the JSON object of a plan file, which `read_previous` reads.

    It has the keys `version`, `strategy`, `layers` (objects with `paths` and `nar_size`, bottom to
    top) and, if there is something to say, `removed` and `history`.
    """
    from nixdock.layering import plan_file

    return plan_file.plan_document(plan, strategy, plan.history)


def read_previous(
    path: Place, *, platform: str | None = None, access: Access | None = None
) -> PreviousPlan:
    """Read the plan of the image that the next one replaces, for the strategy `stable`.

    `path` is a plan file, or an image at any location; the layers of an image that does not
    remember its plan are read. `platform`, as OS/ARCHITECTURE[/VARIANT], selects one of the images
    for several platforms; the default is linux/amd64. Raise InputError if `path` is neither,
    LayeringError if a plan file is not valid, ImageError if an image is damaged, and RegistryError
    if a registry does not send it.
    """
    from nixdock.build import previous
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform

    return previous.read_previous(location_of(path), wanted_platform(platform), access)
