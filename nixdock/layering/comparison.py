"""Comparison of plans: the bytes that an update of the image would transfer with each of them.

The model is simple, and the same for all plans. It has two updates. In a rebuild, one path changes,
each with the same probability, and all paths that refer to it, directly or not, are rebuilt. In an
update of the app, the app changes, and all paths that refer to it. The app is the paths that are
declared volatile. If there are none, it is the root with the largest closure and, if this is small
enough for a wrapper, up to two paths below it: at each step, the one with the largest closure among
the references that no other path uses. Where only a chain of single references is left, nothing
tells what is wrapped from what a program is linked with, so the app ends there.

For either update, `pull` counts the layers that contain a changed path: registries, containerd and
Podman transfer these. `chain` counts these and all layers above the lowest of them: Docker's
classic storage downloads these. No plan can transfer less than the changed paths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from nixdock.layering.reach import Reach, name_then_path
from nixdock.layering.top import LARGEST_WRAPPER

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Comparison", "Figures", "app_of", "compare_plans"]

_MOST_WRAPPED: Final = 3


class Figures(Struct, frozen=True):
    """The number of layers of a plan, and sizes in bytes of NAR; those of a rebuild are means."""

    layers: int
    largest_layer: int
    rebuild_pull: int
    rebuild_chain: int
    app_pull: int
    app_chain: int


class Comparison(Struct, frozen=True):
    """The figures of each plan by its name; `least` are the figures that no plan can beat.

    `app` are the paths that an update of the app changes.
    """

    app: tuple[StorePath, ...]
    least: Figures
    plans: Mapping[str, Figures]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "app": list(self.app),
            "least": asdict(self.least),
            "plans": {name: asdict(figures) for name, figures in self.plans.items()},
        }


def compare_plans(
    closure: Closure, plans: Mapping[str, LayerPlan], volatile: Collection[StorePath] = ()
) -> Comparison:
    """Return the bytes that updates of `closure` would transfer with each of `plans`."""
    reach = Reach(closure)
    app = app_of(reach, volatile)
    changed = reach.users(app)
    least = _least(reach, changed)
    figures = {
        name: _figures(reach, [layer.paths for layer in plan.layers], changed)
        for name, plan in plans.items()
    }
    return Comparison(app, least, figures)


def app_of(reach: Reach, volatile: Collection[StorePath] = ()) -> tuple[StorePath, ...]:
    """Return the paths of the app: those of `volatile`, or else the top of the largest closure."""
    if declared := sorted((p for p in volatile if p in reach.closure), key=name_then_path):
        return tuple(declared)
    app: list[StorePath] = []
    candidates = reach.closure.roots
    while candidates and len(app) < _MOST_WRAPPED:
        # Sorted first, so that of equally large closures the first by name is taken.
        by_name = sorted(candidates, key=name_then_path)
        sizes = reach.closure_sizes(by_name)
        app.append(by_name[sizes.index(max(sizes))])
        if not _may_wrap(reach, app[-1]):
            break
        closure = reach.closure
        candidates = tuple(
            path
            for path in closure.references(app[-1])
            if set(app).issuperset(closure.referrers[path])
        )
    return tuple(app)


def _may_wrap(reach: Reach, path: StorePath) -> bool:
    """Tell whether `path` may be a wrapper: it is small, and its closure is no mere chain."""
    return reach.closure[path].nar_size <= LARGEST_WRAPPER and any(
        len(reach.closure.references(each)) > 1 for each in reach.paths(reach.cone([path]))
    )


def _least(reach: Reach, app: int) -> Figures:
    """Return the figures of layers of one path each, where those above transfer nothing more."""
    counts = reach.sums_below([1] * len(reach.order))
    pull = sum(size * count for size, count in zip(reach.sizes, counts, strict=True))
    rebuild = _rounded(pull, max(len(counts), 1))
    return Figures(
        layers=len(counts),
        largest_layer=max(reach.sizes, default=0),
        rebuild_pull=rebuild,
        rebuild_chain=rebuild,
        app_pull=reach.size(app),
        app_chain=reach.size(app),
    )


def _figures(reach: Reach, layers: Iterable[Iterable[StorePath]], app: int) -> Figures:
    """Return the figures of `layers`, which are bottom to top; `app` is the changed set.

    A layer changes if any path of its cone is rebuilt. So its share in the mean is the size of its
    cone over the number of paths. For `chain`, it is transferred if anything in the cones of this
    layer or of those below is rebuilt.
    """
    sizes = []
    pull = chain = app_pull = app_chain = below = 0
    app_changed = False
    groups = [tuple(layer) for layer in layers]
    cones = reach.cones([reach.index[path] for path in paths] for paths in groups)
    for paths, cone in zip(groups, cones, strict=True):
        members = reach.bits(paths)
        below |= cone
        size = sum(reach.closure[path].nar_size for path in paths)
        sizes.append(size)
        pull += size * cone.bit_count()
        chain += size * below.bit_count()
        holds_app = members & app != 0
        app_changed = app_changed or holds_app
        app_pull += size if holds_app else 0
        app_chain += size if app_changed else 0
    count = max(len(reach.order), 1)
    return Figures(
        layers=len(sizes),
        largest_layer=max(sizes, default=0),
        rebuild_pull=_rounded(pull, count),
        rebuild_chain=_rounded(chain, count),
        app_pull=app_pull,
        app_chain=app_chain,
    )


def _rounded(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)
