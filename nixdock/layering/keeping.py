"""Which layers of the previous plan to keep: a layer that is kept is a layer that others lack.

The number of layers is limited, so each has a price. Kept layers and the paths that are in none of
them are merged, always the pair that raises the expected cost of updates least. If a kept layer is
merged, its bytes are transferred once more; spread over the next `_HORIZON` updates, they count as
a part of the cost. So small layers are dissolved while one more layer for the other paths saves
more, and large paths don't share a layer while smaller layers can make room for them.

Clients may have one of several previous images. Then a layer counts the more, the more of these
images have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from nixdock.layering.clusters import Cluster, layer_clusters
from nixdock.layering.condensing import condense, pieces_to_pair
from nixdock.layering.fresh import large_size
from nixdock.layering.merging import mergers

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["CleanLayers", "Kept", "clean_layers", "layers_to_keep"]

_HORIZON: Final = 3
"""The number of updates by which the bytes of a dissolved layer must have been saved again."""
_CHAIN_SHARE: Final = 0.04
"""How much a byte above a dissolved layer counts, which only Docker's classic storage transfers."""
_NEWCOMER_SHARE: Final = 0.25
"""A large newcomer shares no layer as long as there are clean layers of this share of its size."""
_SPARE_SHARE: Final = 8
"""One layer for so many dissolved ones is left at least, so that their paths do not share one."""
_FEW: Final = 16
"""Clean layers are few if the number of layers is so many times theirs."""
_MANY: Final = 4096
"""Beside more other paths, those of dissolved layers stay together, to condense all only once."""

Layer: TypeAlias = "tuple[StorePath, ...]"


class CleanLayers(Struct, frozen=True):
    """Layers of previous images whose paths are all still in the closure, bottom to top.

    The first `unbroken` are the unbroken bottom of the newest image. `shares` are the shares of the
    previous images that have each layer.
    """

    layers: tuple[Layer, ...]
    unbroken: int
    shares: tuple[float, ...]


class Kept(Struct, frozen=True):
    """The clean layers to keep, in their order, and clusters of all other paths.

    There are none if the choice needed no clusters. To condense many paths into these takes most of
    the time of a plan.
    """

    layers: list[Layer]
    others: list[Cluster] | None = None


def clean_layers(previous: Sequence[Sequence[Layer]], closure: Closure) -> CleanLayers:
    """Return the layers of the images `previous`, the newest first, that can be kept together.

    Of layers that have a path in common, the one that most images have is kept, or else that of the
    newest image.
    """
    newest, unbroken = _whole_layers(previous[0], closure)
    whole = [newest, *(_whole_layers(layers, closure)[0] for layers in previous[1:])]
    votes = Counter(layer for layers in whole for layer in layers)
    taken: set[StorePath] = set()
    chosen: set[Layer] = set()
    # Sorting is stable: the newest image is first, and each image's lowest layer.
    for layer in sorted(votes, key=lambda layer: -votes[layer]):
        is_wanted = layer in whole[0] or 2 * votes[layer] >= len(previous)
        if is_wanted and taken.isdisjoint(layer):
            taken.update(layer)
            chosen.add(layer)
    layers = tuple(layer for layer in votes if layer in chosen)
    lost = next((n for n, layer in enumerate(newest) if layer not in chosen), len(newest))
    shares = tuple(votes[layer] / len(previous) for layer in layers)
    return CleanLayers(layers, min(unbroken, lost), shares)


def _whole_layers(layers: Sequence[Layer], closure: Closure) -> tuple[list[Layer], int]:
    """Return the layers with all paths in the closure, and how many at the bottom are unbroken.

    Layers at the bottom without any path of the closure are ignored: they are a base image's.
    """
    whole = []
    unbroken = None
    for layer in layers:
        present = sum(1 for path in layer if path in closure)
        if present and present == len(layer):
            whole.append(layer)
        elif (present or whole) and unbroken is None:
            unbroken = len(whole)
    return whole, len(whole) if unbroken is None else unbroken


def layers_to_keep(
    model: ChangeModel,
    clean: CleanLayers,
    newcomers: Collection[StorePath],
    budget: int,
) -> Kept:
    """Return the `clean` layers to keep so that there is room for other paths.

    `newcomers` are paths of packages that no update has seen yet.
    """
    whole = clean.layers
    kept_paths = frozenset(path for layer in whole for path in layer)
    others = [path for path in model.reach.order if path not in kept_paths]
    fits = len(whole) + len(others) <= budget
    # The few layers that a mass rebuild leaves make too little room to merge all paths for.
    if fits or _FEW * len(whole) <= budget:
        return Kept([*whole])
    layers = layer_clusters(model, whole)
    pieces = condense(model, others, pieces_to_pair(budget))
    prices = _prices([layer.size for layer in layers], clean)
    # Nothing is known of newcomers but their sizes, so the smaller layers make room for large ones.
    least = large_size(model.sizes, budget)
    order = model.reach.order
    for piece in pieces:
        is_new = piece.size >= least and any(order[i] in newcomers for i in piece.members)
        prices.append(_NEWCOMER_SHARE * piece.size / _HORIZON if is_new else 0.0)
    dissolved: set[int] = set()
    left = len(layers) + len(pieces)
    for merger in mergers(model, [*layers, *pieces], prices):
        if left <= budget:
            break
        left -= 1
        dissolved.update((merger.first, merger.second))
    dissolved.intersection_update(range(len(layers)))
    for number in sorted(range(len(layers)), key=lambda n: (n < clean.unbroken, layers[n].size, n)):
        if budget - len(layers) + len(dissolved) >= len(dissolved) // _SPARE_SHARE:
            break
        dissolved.add(number)
    kept = [layer for number, layer in enumerate(whole) if number not in dissolved]
    if dissolved and len(others) <= _MANY:
        return Kept(kept)
    return Kept(kept, [*pieces, *(layers[number] for number in sorted(dissolved))])


def _prices(sizes: Sequence[int], clean: CleanLayers) -> list[float]:
    """Return what it costs, for each update of the horizon, to dissolve layers of these sizes.

    A layer of the unbroken bottom takes the place of all above it along.
    """
    bottom = sizes[: clean.unbroken]
    above = [total - size for total, size in zip(_totals_upwards(bottom), bottom, strict=True)]
    above += [0] * (len(sizes) - len(bottom))
    return [
        share * (size + _CHAIN_SHARE * over) / _HORIZON
        for share, size, over in zip(clean.shares, sizes, above, strict=True)
    ]


def _totals_upwards(sizes: Sequence[int]) -> list[int]:
    """Return, for each layer, the bytes of it and all above it."""
    return [*accumulate(reversed(sizes))][::-1]
