"""`nixdock plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock import (
    Closure,
    ClosureError,
    Comparison,
    Layering,
    LayeringOptions,
    compare_plans,
    explain_path,
    plan_layers,
    read_previous,
    read_spec,
)
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    FILE,
    OUTPUT,
    key_option,
    optional_graph_argument,
    overridden,
    platform_option,
)
from nixdock.cli.plan_text import comparison_lines, explanation_lines
from nixdock.cli.shown_plan import output_plan, shown_plan
from nixdock.cli.spec_plan import check_options, has_spec, planned
from nixdock.cli.store_paths import member_named, members_named
from nixdock.cli.stores import ChosenStores, store_options
from nixdock.cli.strategy_options import check_used, group_of, pipeline_in
from nixdock.cli.view_options import Listing, listing_options
from nixdock.layering.options import DEFAULT_STRATEGY
from nixdock.layering.strategies import STRATEGIES, parse_groups

if TYPE_CHECKING:
    from nixdock import Access, ImageSpec
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nix path-info --json --recursive ./result > graph.json
  nixdock plan graph.json
  nixdock plan graph.json --explain hello
  nixdock plan graph.json --paths --sort added --top 10
  nixdock plan graph.json --compare
  nixdock plan hello.json
"""


@click.command("plan", epilog=_EXAMPLES)
@optional_graph_argument
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    help=f"Layering strategy.  [default: {DEFAULT_STRATEGY}, or what --group or --pipeline need]",
)
@click.option(
    "--max-layers",
    type=int,
    default=100,
    show_default=True,
    help="Most layers of the finished image, including the top layer. Ignored for a pipeline.",
)
@click.option(
    "--previous",
    multiple=True,
    type=LOCATION,
    help="Plan file or image that the new image replaces. Repeatable, the newest first, if some"
    " machines have one and some another.",
)
@platform_option
@click.option("--volatile", multiple=True, help="Store path that changes often. Repeatable.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Store paths that share a layer, separated by commas; closure:PATH stands for PATH and"
    " everything it refers to. Repeatable. For the strategy explicit.",
)
@click.option(
    "--rest",
    type=click.Choice([name for name in STRATEGIES if name != "explicit"]),
    default=DEFAULT_STRATEGY,
    show_default=True,
    help="Strategy for the store paths that are in no group.",
)
@click.option(
    "--pipeline",
    type=FILE,
    help="JSON file with dockerTools' layeringPipeline. For the strategy pipeline.",
)
@key_option
@store_options
@click.option("--exclude", multiple=True, help="Store path to leave out of the image. Repeatable.")
@access_options
@click.option("--compare", is_flag=True, help="Show what updates transfer with each strategy.")
@click.option("--ranking", is_flag=True, help="Show the rank and score of each path by popularity.")
@click.option("--explain", metavar="PATH", help="Show why a store path is in its layer.")
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="Plan file to write, for --previous; - is standard output.",
)
@listing_options()
def command(
    graph: Path | None,
    *,
    strategy: str | None,
    max_layers: int,
    previous: tuple[Location, ...],
    platform: str | None,
    volatile: tuple[str, ...],
    groups: tuple[str, ...],
    rest: str,
    pipeline: Path | None,
    keys: tuple[str, ...],
    chosen: ChosenStores,
    exclude: tuple[str, ...],
    access: Access | None,
    compare: bool,
    ranking: bool,
    explain: str | None,
    target: Path | None,
    listing: Listing,
) -> None:
    """Show how the store paths of GRAPH would be layered, bottom to top.

    GRAPH is a reference graph in any form in which Nix exports one. With GRAPH, --root selects the
    store paths whose closure is in the image; without, the closure is that of each --root in the
    local store and in --store. A store path may be given by
    its name, such as hello-2.12 or hello, or by the start of its hash, if only one has it.

    Or GRAPH is a spec: its image is planned, on its base image, with the options that it has.
    """
    _check_kinds(listing, target, compare=compare, ranking=ranking, explained=explain is not None)
    if graph is not None and has_spec(graph):
        check_options(click.get_current_context())
        spec = chosen.applied_to(overridden(read_spec(graph), previous=previous), access)
        _plan_image(spec, graph, target, access, listing, ranking=ranking)
        return
    if platform is not None and not previous:
        raise click.UsageError("--platform is for --previous")
    if strategy is None:
        strategy = "explicit" if groups else "pipeline" if pipeline else DEFAULT_STRATEGY
    if not compare:
        check_used(
            {strategy, rest} if strategy == "explicit" else {strategy},
            {
                "--group": (groups, "explicit"),
                "--pipeline": (pipeline, "pipeline"),
                "--previous": (previous, "stable"),
                "--rest": (rest != DEFAULT_STRATEGY, "explicit"),
                "--volatile": (volatile, "stable"),
            },
        )
    closure = _read_closure(graph, keys, chosen, exclude, access)
    plans = [read_previous(image, platform=platform, access=access) for image in previous]
    options = LayeringOptions(
        volatile=frozenset(member_named(text, closure.infos) for text in volatile),
        previous=plans[0] if plans else None,
        older=tuple(plans[1:]),
        groups=parse_groups([group_of(group, closure) for group in groups], "--group"),
        rest=rest,
        pipeline=None if pipeline is None else pipeline_in(pipeline),
    )
    layering = Layering(strategy, options)
    document: Any
    lines: Iterable[str] = ()
    if compare:
        comparison = _compared(closure, options, max_layers)
        document, lines = comparison.document(), comparison_lines(comparison)
    elif explain is not None:
        explanation = explain_path(
            closure, member_named(explain, closure.infos), layering=layering, max_layers=max_layers
        )
        document, lines = explanation.document(), explanation_lines(explanation)
    else:
        plan = plan_layers(closure, layering=layering, max_layers=max_layers)
        document, lines = shown_plan(
            closure,
            plan,
            strategy,
            options.volatile,
            graph,
            listing if target is None else None,
            ranking=ranking,
        )
    output_plan(document, lines, target, listing, closure)


def _plan_image(
    spec: ImageSpec,
    file: Path,
    target: Path | None,
    access: Access | None,
    listing: Listing,
    *,
    ranking: bool,
) -> None:
    """Show the plan of what is new in the image of a spec, or write it."""
    closure, plan = planned(spec, file, access)
    volatile = {path for path in closure.infos if str(path) in spec.layering.volatile}
    shown = None if target is not None else listing
    strategy = spec.layering.strategy
    document, lines = shown_plan(closure, plan, strategy, volatile, file, shown, ranking=ranking)
    output_plan(document, lines, target, listing, closure)


def _check_kinds(
    listing: Listing, target: Path | None, *, compare: bool, ranking: bool, explained: bool
) -> None:
    """Raise UsageError if two kinds of output are asked for, or one in a form that it lacks."""
    if sum([compare, ranking, explained, target is not None]) > 1:
        raise click.UsageError(
            "--compare, --ranking, --explain and --output are mutually exclusive"
        )
    if target is not None and listing.form != "text":
        raise click.UsageError("a plan file is always JSON: give --json or --output, not both")
    if target is not None and listing.html is not None:
        raise click.UsageError("--html and --output are mutually exclusive")
    if (compare or ranking or explained) and listing not in {Listing(), Listing("json")}:
        raise click.UsageError(
            "--compare, --ranking and --explain list something else than store paths and layers:"
            " only --json is for them"
        )


def _read_closure(
    graph: Path | None,
    keys: tuple[str, ...],
    chosen: ChosenStores,
    exclude: Sequence[str],
    access: Access | None,
) -> Closure:
    closure = chosen.closure(graph, keys, access)
    closure = closure.without(members_named(exclude, closure.infos))
    if not len(closure):
        message = f"{graph or chosen.roots[0]}: the closure is empty: there is nothing to plan"
        raise ClosureError(message, path=graph)
    return closure


def _compared(closure: Closure, options: LayeringOptions, max_layers: int) -> Comparison:
    """Compare the plans of all strategies that have the options that they need."""
    usable = {"explicit": bool(options.groups), "pipeline": options.pipeline is not None}
    plans = {
        name: plan_layers(closure, layering=Layering(name, options), max_layers=max_layers)
        for name in STRATEGIES
        if usable.get(name, True)
    }
    return compare_plans(closure, plans, volatile=options.volatile)
