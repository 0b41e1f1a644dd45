"""Planning: which store paths share a layer."""

from nixdock.layering.plan import LayerPlan, PlannedLayer, Planner, store_layer_budget
from nixdock.layering.popularity import plan_by_popularity

__all__ = ["LayerPlan", "PlannedLayer", "Planner", "plan_by_popularity", "store_layer_budget"]
