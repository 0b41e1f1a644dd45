"""`nixdock diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from nixdock import Describing, Layering, LayeringOptions, NixdockError, diff_images, read_previous
from nixdock.cli.access import access_options
from nixdock.cli.diff_text import diff_lines
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    SIZE,
    confinement_options,
    is_stdin,
    no_cache_option,
    platform_option,
    reuse_option,
)
from nixdock.cli.output import pretty_json, size_text
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.layering.options import DEFAULT_STRATEGY
from nixdock.oci.location import location_text

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock diff old.tar new.tar
  nixdock diff old.plan.json graph.json --json
  nixdock diff old.tar new.tar --fail-over 50MB
  nixdock diff ghcr.io/me/app:v1 ghcr.io/me/app:v2
  nixdock diff ghcr.io/me/app:latest app.json
"""


@click.command("diff", epilog=_EXAMPLES)
@click.argument("old", type=LOCATION)
@click.argument("new", type=LOCATION)
@click.option(
    "--fail-over",
    "limit",
    type=SIZE,
    metavar="SIZE",
    help="Exit with status 1 if a registry transfers more, for example 50MB or 1GiB.",
)
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
    type=LOCATION,
    help="Plan file or image that the plan of NEW, a graph, continues.",
)
@reuse_option
@cache_options
@no_cache_option
@confinement_options
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    old: Location,
    new: Location,
    *,
    limit: int | None,
    platform: str | None,
    architecture: str | None,
    strategy: str,
    max_layers: int,
    previous: Location | None,
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    no_cache: bool,
    confinement: str | None,
    access: Access | None,
    as_json: bool,
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
    """
    if is_stdin(old) and is_stdin(new):
        raise click.UsageError("standard input can't be both OLD and NEW")
    if previous is not None and strategy != "stable":
        raise click.UsageError("--previous is for --strategy stable")
    if architecture is not None:
        if platform is not None:
            raise click.UsageError("--platform and --architecture are mutually exclusive")
        platform = f"linux/{architecture}"
    new_options = LayeringOptions(
        previous=None
        if previous is None
        else read_previous(previous, platform=platform, access=access)
    )
    diff = diff_images(
        old,
        new,
        layering=Layering(strategy),
        new_layering=Layering(strategy, new_options),
        max_layers=max_layers,
        platform=platform,
        access=access,
        describing=Describing(
            reuse, not no_cache, confinement or "required", chosen.urls, chosen.keys
        ),
    )
    if as_json:
        click.echo(pretty_json(diff.document()), nl=False)
    else:
        click.echo("\n".join(diff_lines(diff)))
    total = diff.transfers.registry.total
    if limit is not None and total > limit:
        place = location_text(new)
        raise NixdockError(
            f"{place}: a registry transfers {size_text(total)} ({total} bytes) for the update, more"
            f" than --fail-over allows, {size_text(limit)} ({limit} bytes)",
            path=place,
        )
