"""`nixdock plan`."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from nixdock.build import read_bytes
from nixdock.cli.graph import graph_argument, key_option
from nixdock.cli.progress import size_text
from nixdock.closure import parse_closure
from nixdock.errors import ClosureError
from nixdock.layering import LayerPlan, plan_by_popularity, store_layer_budget
from nixdock.store_path import StorePath

__all__ = ["command"]


@click.command("plan")
@graph_argument
@click.option(
    "--max-layers",
    type=int,
    default=100,
    show_default=True,
    help="Limit of the finished image: the top layer counts.",
)
@key_option
@click.option("--exclude", multiple=True, help="Store path that stays out of the image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    graph: Path, max_layers: int, keys: tuple[str, ...], exclude: tuple[str, ...], *, as_json: bool
) -> None:
    """Show how the store paths of GRAPH would be layered, bottom to top.

    GRAPH is a reference graph in any form in which Nix exports one.
    """
    closure = parse_closure(read_bytes(graph, "the graph"), keys, str(graph))
    closure = closure.without(StorePath.parse(path) for path in exclude)
    if not len(closure):
        raise ClosureError(f"{graph}: the closure is empty: there is nothing to plan")
    plan = plan_by_popularity(closure, store_layer_budget(max_layers))
    click.echo(_json(plan) if as_json else _table(plan))


def _json(plan: LayerPlan) -> bytes:
    layers = [{"paths": list(layer.paths), "nar_size": layer.nar_size} for layer in plan.layers]
    return orjson.dumps({"layers": layers}, option=orjson.OPT_INDENT_2)


def _table(plan: LayerPlan) -> str:
    lines = [f"{'layer':>5} {'paths':>6} {'size':>9} {'total':>9}  store paths"]
    total = 0
    for number, layer in enumerate(plan.layers, 1):
        total += layer.nar_size
        first, *others = layer.paths
        sizes = f"{size_text(layer.nar_size):>9} {size_text(total):>9}"
        lines.append(f"{number:>5} {len(layer.paths):>6} {sizes}  {first.base_name}")
        lines += [f"{'':33}{path.base_name}" for path in others]
    return "\n".join(lines)
