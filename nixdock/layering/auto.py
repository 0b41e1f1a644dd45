"""The auto strategy: what dockerTools does by default, large paths first.

A large path is worth a layer of its own: it is what hurts when a neighbour changes. So the paths
are taken from the largest down, and each that gets a layer, a primary, also splits what is left:
what only it refers to belongs with it, as that changes and goes together with it, and what other
primaries share with it stays apart from what they don't. Paths that the same primaries claim
share a layer. The first primary that would need more layers than there are ends it, although a
smaller one might still fit.

Layers are stacked by the size of all they refer to, so that what stands on little is below. Where
dockerTools leaves a tie to the order of its input or of a set, the name decides before the hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.reach import Reach, name_then_path

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["auto_layers", "plan_auto", "split_by_primaries"]


def plan_auto(
    closure: Closure, budget: int, _options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Give large paths layers of their own, and share out the others by which of these use them."""
    return LayerPlan.of(closure, auto_layers(closure, budget))


def auto_layers(closure: Closure, budget: int) -> list[list[StorePath]]:
    """Return dockerTools' layers, bottom to top."""
    reach = Reach(closure)
    layers = []
    for members in split_by_primaries(reach, budget).values():
        paths = sorted(reach.paths(members), key=name_then_path)
        layers.append((reach.size(reach.cone(paths)), name_then_path(paths[0]), paths))
    return [paths for _size, _name, paths in sorted(layers)]


def split_by_primaries(reach: Reach, budget: int) -> dict[int, int]:
    """Return the layers as sets: for each set of primaries, the paths that these claim."""
    closure = reach.closure
    if len(closure) <= budget:
        return {1 << i: 1 << i for i in range(len(closure))}
    by_size = sorted(
        reach.order, key=lambda path: (closure[path].nar_size, name_then_path(path)), reverse=True
    )
    split = {0: (1 << len(closure)) - 1}
    for path in by_size:
        finer = _split(split, reach, reach.index[path])
        if len(finer) > budget:
            break
        split = finer
    return split


def _split(split: dict[int, int], reach: Reach, primary: int) -> dict[int, int]:
    """Return `split` with one more primary."""
    own = 1 << primary
    below = reach.down[primary] & ~own
    above = reach.up[primary] & ~own
    finer: dict[int, int] = {own: own}
    for claimed_by, members in split.items():
        stay = members & ~below & ~own
        if stay:
            finer[claimed_by] = finer.get(claimed_by, 0) | stay
        if claim := members & below:
            # A primary that refers to this one claims through it.
            claimants = claimed_by & ~above
            if not claimants & below:
                claimants |= own
            finer[claimants] = finer.get(claimants, 0) | claim
    return finer
