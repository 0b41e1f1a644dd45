"""The auto strategy: the layers that dockerTools makes by default, formed around large paths.

A large path is worth a layer of its own, because it costs most when it is transferred for the sake
of a neighbour. Paths become primaries from the largest down. A new primary claims itself and every
path below it, that is, every path it refers to, directly or not. Of a path's claimants, only the
lowest count: a primary does not claim a path if another of the path's claimants is below it. Paths
with the same claimants share a layer. The first primary that would need more layers than the
budget ends the search, although a smaller primary might still fit.

Layers are ordered by the size of their closures, smallest at the bottom. Where dockerTools leaves
a tie to the order of its input or of a set, the name decides, then the hash.
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
    """Give large paths their own layers, and group the others by which of these refer to them."""
    return LayerPlan.of(closure, auto_layers(closure, budget))


def auto_layers(closure: Closure, budget: int) -> list[list[StorePath]]:
    """Return dockerTools' layers, bottom to top."""
    reach = Reach(closure)
    groups = [
        sorted(reach.paths(members), key=name_then_path)
        for members in split_by_primaries(reach, budget).values()
    ]
    cones = reach.cones([reach.index[path] for path in paths] for paths in groups)
    layers = [
        (reach.size(cone), name_then_path(paths[0]), paths)
        for paths, cone in zip(groups, cones, strict=True)
    ]
    return [paths for _size, _name, paths in sorted(layers)]


def split_by_primaries(reach: Reach, budget: int) -> dict[int, int]:
    """Return the layers as bit sets: for each set of claimants, the paths they claim."""
    closure = reach.closure
    if len(closure) <= budget:
        return {1 << i: 1 << i for i in range(len(closure))}
    by_size = sorted(
        reach.order, key=lambda path: (closure[path].nar_size, name_then_path(path)), reverse=True
    )
    split = {0: (1 << len(closure)) - 1}
    for path in by_size:
        finer = _split(split, reach, path)
        if len(finer) > budget:
            break
        split = finer
    return split


def _split(split: dict[int, int], reach: Reach, primary: StorePath) -> dict[int, int]:
    """Return `split` with one more primary."""
    own = reach.bits([primary])
    below = reach.cone([primary]) & ~own
    above = reach.users([primary]) & ~own
    finer: dict[int, int] = {own: own}
    for claimants, members in split.items():
        if unaffected := members & ~below & ~own:
            finer[claimants] = finer.get(claimants, 0) | unaffected
        if claimed := members & below:
            # Claimants above the new primary give way to it, and it gives way to those below it.
            lowest = claimants & ~above
            if not lowest & below:
                lowest |= own
            finer[lowest] = finer.get(lowest, 0) | claimed
    return finer
