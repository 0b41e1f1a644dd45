"""`nixdock diff`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from nixdock import (
    Describing,
    Layering,
    NixdockError,
    check_diff,
    diff_images,
    view_diff,
    view_document,
)
from nixdock.cli.access import access_options
from nixdock.cli.budget import budget_options
from nixdock.cli.diff_text import diff_lines
from nixdock.cli.location import LOCATION
from nixdock.cli.moved_path_lines import moved_path_lines
from nixdock.cli.options import (
    confinement_options,
    no_cache_option,
    platform_option,
    reuse_option,
)
from nixdock.cli.page_file import write_update_page
from nixdock.cli.path_lines import why_document, why_lines
from nixdock.cli.screen import standard_screen
from nixdock.cli.spec_plan import has_spec
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.cli.view_options import Listing, graph_file_option, listing_options, read_graph
from nixdock.diff.reading import is_image
from nixdock.layering.options import DEFAULT_STRATEGY
from nixdock.oci.location import FileLocation, location_text
from nixdock.system.json_text import json_text
from nixdock.view.markdown import update_markdown
from nixdock.view.sentence import update_sentence

if TYPE_CHECKING:
    from nixdock import Access, Policy
    from nixdock.cli.screen import Screen
    from nixdock.oci.location import Location
    from nixdock.view import UpdateView

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock diff old.tar new.tar
  nixdock diff old.plan.json graph.json --json
  nixdock diff old.tar new.tar --max-update 50MB
  nixdock diff old.tar new.tar --format markdown >> "$GITHUB_STEP_SUMMARY"
  nixdock diff ghcr.io/me/app:v1 ghcr.io/me/app:v2
  nixdock diff ghcr.io/me/app:latest app.json
"""


@click.command("diff", epilog=_EXAMPLES)
@click.argument("old", type=LOCATION)
@click.argument("new", type=LOCATION)
@budget_options
@platform_option
@click.option("--architecture", metavar="ARCH", help="Short for --platform linux/ARCH.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "popularity", "stable"]),
    default=DEFAULT_STRATEGY,
    show_default=True,
    help="Layering strategy for graphs.",
)
@click.option(
    "--max-layers",
    type=int,
    default=100,
    show_default=True,
    help="Most layers of an image that is planned from a graph, including the top layer.",
)
@click.option(
    "--previous",
    multiple=True,
    type=LOCATION,
    help="Plan file or image that the plan of NEW, a spec or a graph, continues. Repeatable, the"
    " newest first.",
)
@reuse_option
@cache_options
@no_cache_option
@confinement_options
@access_options
@listing_options()
@graph_file_option
def command(
    old: Location,
    new: Location,
    *,
    budget: Policy,
    platform: str | None,
    architecture: str | None,
    strategy: str,
    max_layers: int,
    previous: tuple[Location, ...],
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    no_cache: bool,
    confinement: str | None,
    access: Access | None,
    listing: Listing,
    graph_file: Path | None,
) -> None:
    """Show what an update from OLD to NEW transfers, and why.

    Each of the two is the location of an image, a spec, a plan file from `nixdock plan -o`, or a
    graph, which is planned first. Of images in registries, [docker://]HOST/NAME:TAG, no layer
    is fetched if they remember their store paths. A spec stands for the image that `nixdock push`
    would send, in place of OLD if that is in a registry: layers are packed to compare their
    digests, but no file is read of those that the other side, an earlier build or push of this
    user, or an image named by --reuse has already.

    Registries, containerd and Podman transfer the layers whose digests are not among the old ones;
    Docker's classic storage transfers all layers from the first one that differs. For images, sizes
    are those of blobs, including the config and the manifest if they differ, but not an index for
    several platforms or HTTP headers. The layers of a docker-archive count with their size there,
    although pushing it may compress them. For plans and graphs, sizes are those of NARs. Layers of
    plans and graphs are compared by their store paths, also with those of an image.

    The first line says it all; then there are the packages that change, the layers that move
    without need, and all layers. With --paths, the store paths that are not kept are listed.
    --max-size, --max-layer and --max-update mean what they do for nixdock check.
    """
    _check_options_for_graphs((old, new))
    if previous and strategy != "stable":
        raise click.UsageError("--previous is for --strategy stable")
    if architecture is not None:
        if platform is not None:
            raise click.UsageError("--platform and --architecture are mutually exclusive")
        platform = f"linux/{architecture}"
    diff = diff_images(
        old,
        new,
        layering=Layering(strategy),
        max_layers=max_layers,
        platform=platform,
        access=access,
        describing=Describing(
            reuse,
            not no_cache,
            confinement or "required",
            chosen.urls,
            chosen.keys,
            tuple(map(location_text, previous)),
        ),
    )
    report = check_diff(diff, budget) if any(budget.rules()) else None
    update = view_diff(diff, graph=read_graph(graph_file))
    document = {}
    if listing.form == "json" or listing.html is not None:
        document = diff.document() | {"view": view_document(update)}
        document |= {"sentence": update_sentence(update)}
        if listing.why is not None:
            document["why"] = why_document(update.new, listing.why)
        if report is not None:
            document["findings"] = [finding.document() for finding in report.findings]
    if listing.html is not None:
        write_update_page(listing.html, update, document)
    if listing.form == "json":
        click.echo(json_text(document), nl=False)
    elif listing.form == "markdown":
        click.echo(update_markdown(update, listing.sort, listing.top), nl=False)
    elif listing.is_printed:
        click.echo("\n".join(_lines(update, listing, standard_screen())))
    if report is not None and not report.passed:
        place = location_text(new)
        findings = "; ".join(f"{each.rule}: {each.text}" for each in report.findings)
        raise NixdockError(f"{place}: {findings}", path=place)


def _check_options_for_graphs(sides: Iterable[Location]) -> None:
    """Raise UsageError if an option for graphs was given that is of no use for the sides."""
    context = click.get_current_context()
    options = {"strategy": "--strategy", "max_layers": "--max-layers"}
    given = [
        option
        for parameter, option in options.items()
        if context.get_parameter_source(parameter) != ParameterSource.DEFAULT
    ]
    if given and not any(_may_be_graph(side) for side in sides):
        raise click.UsageError(
            f"{given[0]} is for a graph, and neither OLD nor NEW is one; a spec says itself how its"
            " image is layered"
        )


def _may_be_graph(side: Location) -> bool:
    return isinstance(side, FileLocation) and not is_image(side) and not has_spec(side.path)


def _lines(update: UpdateView, listing: Listing, screen: Screen) -> Iterator[str]:
    if listing.why is not None:
        return why_lines(update.new, listing.why, screen)
    lines = moved_path_lines if listing.paths else diff_lines
    return lines(update, screen, listing.sort, listing.top)
