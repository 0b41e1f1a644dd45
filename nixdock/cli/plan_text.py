"""What `nixdock plan` prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nixdock.cli.output import size_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Comparison, Explanation, LayerPlan
    from nixdock.layering.comparison import Figures

__all__ = ["comparison_lines", "explanation_lines", "plan_lines"]


def plan_lines(plan: LayerPlan) -> Iterator[str]:
    """Yield a table of the layers, bottom to top; `total` adds their sizes up."""
    yield f"{'layer':>5} {'paths':>6} {'size':>9} {'total':>9}  store paths"
    total = 0
    for number, layer in enumerate(plan.layers, 1):
        total += layer.nar_size
        first, *others = layer.paths
        sizes = f"{size_text(layer.nar_size):>9} {size_text(total):>9}"
        yield f"{number:>5} {len(layer.paths):>6} {sizes}  {first.base_name}"
        yield from (f"{'':33}{path.base_name}" for path in others)
    for path in sorted(plan.removed):
        yield f"{'':5} {'':6} {'removed':>9} {'':9}  {path.base_name}"


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a table of what updates transfer with each plan, and what its columns mean."""
    columns = ("layers", "largest", "rebuild", "chain", "app", "chain")
    app = ", ".join(path.name for path in comparison.app)
    yield f"{'strategy':<12}" + "".join(f"{column:>11}" for column in columns)
    for name, figures in comparison.plans.items():
        yield _figures(name, figures)
    yield _figures("least", comparison.least)
    yield ""
    yield (
        "rebuild: bytes transferred, on average, if a store path and everything that refers to it"
        " change"
    )
    yield f"app: bytes transferred if {app} and everything that refers to them change"
    yield "chain: the same for Docker's classic storage, which fetches all layers above a change"
    yield "least: the figures if every store path had its own layer"


def _figures(name: str, figures: Figures) -> str:
    sizes = (
        figures.largest_layer,
        figures.rebuild_pull,
        figures.rebuild_chain,
        figures.app_pull,
        figures.app_chain,
    )
    return f"{name:<12}{figures.layers:>11}" + "".join(f"{size_text(size):>11}" for size in sizes)


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Yield in which layer a store path is, the reasons, and which updates change both."""
    name = f"{explanation.path.base_name} ({size_text(explanation.nar_size)})"
    if explanation.layer is None:
        yield f"{name} is in no layer"
    else:
        others = explanation.layer_paths - 1
        company = f"with {counted(others, 'other')}" if others else "alone"
        size = size_text(explanation.layer_nar_size)
        yield f"{name} is in layer {explanation.layer} of {explanation.layers} ({size}), {company}"
    yield from (f"  {reason}" for reason in explanation.reasons)
    if explanation.layer is not None:
        own = _causes(explanation.changed_by)
        yield f"  it changes {own}, its layer {_causes(explanation.layer_changed_by)}"


def _causes(count: int) -> str:
    return "only by itself" if count == 1 else f"if any of {count} store paths changes"
