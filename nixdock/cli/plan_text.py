"""What `nixdock plan` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.cli.table import Column, name_and_hash, table_lines, terminal_width
from nixdock.layering.ranking import score_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Comparison, Explanation, LayerPlan
    from nixdock.layering.comparison import Figures
    from nixdock.layering.ranked_paths import RankedPath

__all__ = ["comparison_lines", "end_lines", "explanation_lines", "ranking_lines"]

_RANKING: Final = (
    Column("rank", right=True),
    Column("score", right=True),
    Column("size", right=True),
    Column("layer", right=True),
    Column("store path", flexible=True),
    Column("hash"),
)
_COMPARISON: Final = (
    Column("strategy"),
    *(
        Column(name, right=True)
        for name in ("layers", "largest", "rebuild", "rebuild-docker", "app", "app-docker")
    ),
)


def end_lines(plan: LayerPlan) -> Iterator[str]:
    """Yield what to say below the layers of a plan: how much they hold, and what they leave out."""
    size = sum(layer.nar_size for layer in plan.layers)
    count = counted(sum(len(layer.paths) for layer in plan.layers), "store path")
    yield ""
    yield f"{count} in {counted(len(plan.layers), 'layer')}, {size_text(size)}"
    for path in sorted(plan.removed):
        name, short_hash = name_and_hash(path)
        yield f"removed {name} {short_hash}"


def ranking_lines(ranked: Sequence[RankedPath]) -> Iterator[str]:
    """Yield a table of the store paths by popularity, the most popular first."""
    rows = [
        (
            str(path.rank),
            score_text(path.score),
            size_text(path.nar_size),
            "removed" if path.layer is None else str(path.layer),
            *name_and_hash(path.path),
        )
        for path in ranked
    ]
    return table_lines(_RANKING, rows, terminal_width())


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a table of what updates transfer with each plan, and what its columns mean."""
    app = ", ".join(path.name for path in comparison.app)
    rows = [_figures(name, figures) for name, figures in comparison.plans.items()]
    rows.append(_figures("least", comparison.least))
    yield from table_lines(_COMPARISON, rows, terminal_width())
    yield ""
    yield (
        "rebuild: bytes transferred, on average, if a store path and everything that refers to it"
        " change"
    )
    yield f"app: bytes transferred if {app} and everything that refers to them change"
    yield (
        "rebuild-docker, app-docker: the same for Docker's classic storage, which fetches all"
        " layers above a change"
    )
    yield "least: the figures if every store path had its own layer"


def _figures(name: str, figures: Figures) -> tuple[str, ...]:
    sizes = (
        figures.largest_layer,
        figures.rebuild_pull,
        figures.rebuild_chain,
        figures.app_pull,
        figures.app_chain,
    )
    return (name, str(figures.layers), *map(size_text, sizes))


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
