"""Plans side by side: what an update of the image would transfer with each of them.

The model is simple, and the same for all. A rebuild: each path is as likely as any other to be
the one that changes, and all that refers to it is rebuilt with it. An update of the app: that
changes, with all that refers to it. The app is what is declared volatile, or else the root with
the largest closure and, as this is often a wrapper, up to two paths below it: at each step, of
the references that nothing else uses, the one with the largest closure.

For either, `pull` counts the layers that hold a changed path, which is what registries,
containerd and Podman transfer; `chain` counts these and all layers above the lowest of them,
which is what Docker's classic storage downloads. The least that is possible is the changed paths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from nixdock.layering.reach import Reach, name_then_path

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Comparison", "Figures", "app_of", "compare_plans"]

_MOST_WRAPPED: Final = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """What a plan costs, in bytes of NAR; those of a rebuild are means."""

    layers: int
    largest_layer: int
    rebuild_pull: int
    rebuild_chain: int
    app_pull: int
    app_chain: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of each plan; `least` are those of a layer for each path, and none above."""

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
    """Return what updates of `closure` would cost with each of `plans`."""
    reach = Reach(closure)
    app = app_of(reach, volatile)
    changed = reach.users(app)
    alone = _figures(reach, [(path,) for path in reach.order], changed)
    least = Figures(
        layers=alone.layers,
        largest_layer=alone.largest_layer,
        rebuild_pull=alone.rebuild_pull,
        rebuild_chain=alone.rebuild_pull,
        app_pull=alone.app_pull,
        app_chain=alone.app_pull,
    )
    figures = {
        name: _figures(reach, [layer.paths for layer in plan.layers], changed)
        for name, plan in plans.items()
    }
    return Comparison(app, least, figures)


def app_of(reach: Reach, volatile: Collection[StorePath] = ()) -> tuple[StorePath, ...]:
    """Return what stands for the app: `volatile`, or else the top of the largest closure."""
    if declared := sorted((p for p in volatile if p in reach.closure), key=name_then_path):
        return tuple(declared)
    app: list[StorePath] = []
    candidates = reach.closure.roots
    while candidates and len(app) < _MOST_WRAPPED:
        # Sorted first, so that the name decides where closures are equally large.
        by_name = sorted(candidates, key=name_then_path)
        app.append(max(by_name, key=lambda path: reach.size(reach.cone([path]))))
        graph = reach.closure.graph
        candidates = tuple(p for p in graph[app[-1]] if set(graph.predecessors(p)) <= set(app))
    return tuple(app)


def _figures(reach: Reach, layers: Iterable[Iterable[StorePath]], app: int) -> Figures:
    """Weigh each layer with the number of paths whose rebuild changes it, out of all."""
    sizes = []
    pull = chain = app_pull = app_chain = below = 0
    app_changed = False
    for layer in layers:
        paths = tuple(layer)
        members = reach.bits(paths)
        cone = reach.cone(paths)
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
