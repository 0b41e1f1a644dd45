"""Planning: which store paths share a layer."""

from nixdock.layering.options import DEFAULT_STRATEGY, Group, LayeringOptions
from nixdock.layering.plan import LayerPlan, PlannedLayer, Planner, store_layer_budget
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.strategies import STRATEGIES, Layering, layering_of, parse_groups, planner
from nixdock.oci.limits import MOST_LAYERS

__all__ = [
    "DEFAULT_STRATEGY",
    "MOST_LAYERS",
    "STRATEGIES",
    "Group",
    "LayerPlan",
    "Layering",
    "LayeringOptions",
    "PlannedLayer",
    "Planner",
    "layering_of",
    "parse_groups",
    "plan_by_popularity",
    "planner",
    "store_layer_budget",
]
