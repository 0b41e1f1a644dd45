"""`nixdock plan`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from nixdock.cli.graph import graph_argument, key_option
from nixdock.cli.progress import size_text
from nixdock.errors import ClosureError, InputError
from nixdock.layering import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    Layering,
    LayeringOptions,
    LayerPlan,
    parse_groups,
)
from nixdock.layering.pipeline.operations import Operation
from nixdock.layering.pipeline.parse import read_pipeline
from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.oci.limits import MOST_LAYERS
from nixdock.system.atomic import whole_file
from nixdock.system.input_files import read_bytes

if TYPE_CHECKING:
    from nixdock.layering.comparison import Comparison, Figures
    from nixdock.layering.explain import Explanation
    from nixdock.layering.plan_history import PreviousPlan

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_CLOSURE_OF = "closure:"


@click.command("plan")
@graph_argument
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    help=f"How to choose the layers.  [default: {DEFAULT_STRATEGY}]",
)
@click.option(
    "--max-layers",
    type=int,
    default=100,
    show_default=True,
    help="Limit of the finished image: the top layer counts. A pipeline has its own.",
)
@click.option("--previous", type=_FILE, help="Plan file or image that this image will replace.")
@click.option("--volatile", multiple=True, help="Store path that changes often.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Store paths of one layer, separated by commas; closure:PATH is PATH and all it refers"
    " to. For the strategy explicit.",
)
@click.option(
    "--rest",
    type=click.Choice([name for name in STRATEGIES if name != "explicit"]),
    default=DEFAULT_STRATEGY,
    show_default=True,
    help="The strategy for what no group has.",
)
@click.option(
    "--pipeline", type=_FILE, help="dockerTools' layeringPipeline, as JSON. For that strategy."
)
@key_option
@click.option("--exclude", multiple=True, help="Store path that stays out of the image.")
@click.option("--compare", is_flag=True, help="Show what updates would cost by each strategy.")
@click.option("--explain", metavar="PATH", help="Tell why a store path is in its layer.")
@click.option("-o", "--output", "target", type=_FILE, help="Write a plan file, for --previous.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    graph: Path,
    *,
    strategy: str | None,
    max_layers: int,
    previous: Path | None,
    volatile: tuple[str, ...],
    groups: tuple[str, ...],
    rest: str,
    pipeline: Path | None,
    keys: tuple[str, ...],
    exclude: tuple[str, ...],
    compare: bool,
    explain: str | None,
    target: Path | None,
    as_json: bool,
) -> None:
    """Show how the store paths of GRAPH would be layered, bottom to top.

    GRAPH is a reference graph in any form in which Nix exports one.
    """
    if sum([compare, explain is not None, target is not None]) > 1:
        raise click.UsageError("--compare, --explain and --output exclude each other")
    if target is not None and as_json:
        raise click.UsageError("a plan file is JSON as it is: give --json or --output")
    if strategy is None:
        strategy = "explicit" if groups else "pipeline" if pipeline else DEFAULT_STRATEGY
    if not compare:
        _check_used(
            {strategy, rest} if strategy == "explicit" else {strategy},
            {
                "--group": (groups, "explicit"),
                "--pipeline": (pipeline, "pipeline"),
                "--previous": (previous, "stable"),
                "--volatile": (volatile, "stable"),
            },
        )
    closure = parse_closure(read_bytes(graph, "the graph"), keys, str(graph))
    closure = closure.without(StorePath.parse(path) for path in exclude)
    if not len(closure):
        raise ClosureError(f"{graph}: the closure is empty: there is nothing to plan")
    options = LayeringOptions(
        volatile=frozenset(_member(closure, path) for path in volatile),
        previous=_previous(previous),
        groups=parse_groups([_group(group) for group in groups], "--group"),
        rest=rest,
        pipeline=_pipeline(pipeline),
    )
    if compare:
        comparison = _compared(closure, options, max_layers)
        click.echo(_indented(comparison.document()) if as_json else _comparison(comparison))
        return
    layering = Layering(strategy, options)
    budget = layering.budget(max_layers, most_layers=MOST_LAYERS)
    plan = layering.plan(closure, budget)
    if explain is not None:
        told = _explained(closure, plan, layering, budget, explain)
        click.echo(_indented(told.document()) if as_json else "\n".join(_explanation(told)))
    elif target is not None:
        with whole_file(target) as file:
            file.write(_document(plan, strategy) + b"\n")
    else:
        click.echo(_document(plan, strategy) if as_json else _table(plan))


def _check_used(used: set[str], given: dict[str, tuple[object, str]]) -> None:
    """Refuse options that the strategies in use would not look at."""
    for option, (value, strategy) in given.items():
        if value and strategy not in used:
            raise click.UsageError(f"{option} is for --strategy {strategy}")


def _group(text: str) -> dict[str, list[str]]:
    parts = text.split(",")
    return {
        "paths": [part for part in parts if not part.startswith(_CLOSURE_OF)],
        "closure_of": [
            part.removeprefix(_CLOSURE_OF) for part in parts if part.startswith(_CLOSURE_OF)
        ],
    }


def _previous(file: Path | None) -> PreviousPlan | None:
    if file is None:
        return None
    from nixdock.build.previous import read_previous  # noqa: PLC0415 (one option's)

    return read_previous(file)


def _pipeline(file: Path | None) -> tuple[Operation, ...] | None:
    return None if file is None else read_pipeline(read_bytes(file, "the pipeline"), str(file))


def _member(closure: Closure, text: str) -> StorePath:
    """Return the store path that `text` is, or is the name of."""
    named = [i.path for i in closure if text in {i.path, i.path.base_name, i.path.name}]
    if len(named) == 1:
        return named[0]
    if named:
        raise InputError(f"{text!r} is the name of {len(named)} store paths: {', '.join(named)}")
    path = StorePath.parse(text)
    same = [i.path.base_name for i in closure if i.path.name == path.name]
    hint = f"; it has {', '.join(same)}" if same else ""
    raise InputError(f"{path} is not in the closure{hint}")


def _compared(closure: Closure, options: LayeringOptions, max_layers: int) -> Comparison:
    from nixdock.layering.comparison import compare_plans  # noqa: PLC0415 (one option's)

    usable = {"explicit": bool(options.groups), "pipeline": options.pipeline is not None}
    plans = {}
    for name in STRATEGIES:
        if usable.get(name, True):
            layering = Layering(name, options)
            plans[name] = layering.plan(
                closure, layering.budget(max_layers, most_layers=MOST_LAYERS)
            )
    return compare_plans(closure, plans, options.volatile)


def _explained(
    closure: Closure, plan: LayerPlan, layering: Layering, budget: int, path: str
) -> Explanation:
    from nixdock.layering.explain import explain  # noqa: PLC0415 (one option's)

    return explain(closure, plan, layering, budget, _member(closure, path))


def _document(plan: LayerPlan, strategy: str) -> bytes:
    from nixdock.layering.plan_file import plan_document  # noqa: PLC0415 (some options')

    return _indented(plan_document(plan, strategy, plan.history))


def _indented(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _table(plan: LayerPlan) -> str:
    lines = [f"{'layer':>5} {'paths':>6} {'size':>9} {'total':>9}  store paths"]
    total = 0
    for number, layer in enumerate(plan.layers, 1):
        total += layer.nar_size
        first, *others = layer.paths
        sizes = f"{size_text(layer.nar_size):>9} {size_text(total):>9}"
        lines.append(f"{number:>5} {len(layer.paths):>6} {sizes}  {first.base_name}")
        lines += [f"{'':33}{path.base_name}" for path in others]
    lines += [
        f"{'':>5} {'':>6} {'removed':>9} {'':>9}  {p.base_name}" for p in sorted(plan.removed)
    ]
    return "\n".join(lines)


def _comparison(comparison: Comparison) -> str:
    columns = ("layers", "largest", "rebuild", "chain", "app", "chain")
    app = ", ".join(path.name for path in comparison.app)
    return "\n".join(
        [
            f"{'strategy':<12}" + "".join(f"{column:>11}" for column in columns),
            *(_row(name, figures) for name, figures in comparison.plans.items()),
            _row("least", comparison.least),
            "",
            "rebuild: transferred, on average, when a store path and all that refers to it change",
            f"app: transferred when {app} and all that refers to them change",
            "chain: the same for Docker's classic storage, which loads all layers above anew",
            "least: if every store path were a layer of its own",
        ]
    )


def _row(name: str, figures: Figures) -> str:
    sizes = (
        figures.largest_layer,
        figures.rebuild_pull,
        figures.rebuild_chain,
        figures.app_pull,
        figures.app_chain,
    )
    return f"{name:<12}{figures.layers:>11}" + "".join(f"{size_text(size):>11}" for size in sizes)


def _explanation(told: Explanation) -> Iterator[str]:
    size = size_text(told.nar_size)
    if told.layer is None:
        yield f"{told.path.base_name} ({size}) is in no layer"
    else:
        others = told.layer_paths - 1
        beside = f"with {others} other{'' if others == 1 else 's'}" if others else "alone"
        of = f"layer {told.layer} of {told.layers} ({size_text(told.layer_nar_size)})"
        yield f"{told.path.base_name} ({size}) is in {of}, {beside}"
    yield from (f"  {reason}" for reason in told.reasons)
    if told.layer is not None:
        its = f"  it changes with {_paths(told.changed_by)}"
        yield f"{its}, its layer with {_paths(told.layer_changed_by)}"


def _paths(count: int) -> str:
    return "itself alone" if count == 1 else f"any of {count} store paths"
