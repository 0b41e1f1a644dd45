"""Planning: which store paths share a layer."""

from nixdock.layering.options import DEFAULT_STRATEGY, LayeringOptions
from nixdock.layering.plan import LayerPlan, store_layer_budget
from nixdock.layering.strategies import STRATEGIES, Layering, layering_of, parse_groups

__all__ = [
    "DEFAULT_STRATEGY",
    "STRATEGIES",
    "LayerPlan",
    "Layering",
    "LayeringOptions",
    "layering_of",
    "parse_groups",
    "store_layer_budget",
]
