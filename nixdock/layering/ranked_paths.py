"""The ranking of store paths by popularity, beside the layers of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from nixdock.layering.ranking import all_digits, popularity_ranking

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["RankedPath", "ranked_paths"]


class RankedPath(Struct, frozen=True):
    """A store path with its rank by popularity, from 1, and its exact score.

    `layer` is the number of its layer in a plan, from 1 at the bottom, or None if the plan leaves
    the path out.
    """

    path: StorePath
    rank: int
    score: int
    nar_size: int
    layer: int | None

    def document(self) -> dict[str, Any]:
        """Return the JSON object; the score is text, because it may be larger than JSON allows."""
        return {**asdict(self), "score": all_digits(self.score)}


def ranked_paths(closure: Closure, plan: LayerPlan) -> list[RankedPath]:
    """Return the paths by popularity, the most popular first, with their layers in `plan`."""
    layer_of = {path: n for n, layer in enumerate(plan.layers, 1) for path in layer.paths}
    return [
        RankedPath(path, rank, score, closure[path].nar_size, layer_of.get(path))
        for rank, (path, score) in enumerate(popularity_ranking(closure), 1)
    ]
