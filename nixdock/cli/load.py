"""`nixdock load`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock.cli.access import access_options
from nixdock.cli.loading import into_option, load_source, runtime_platform_option, tag_option
from nixdock.cli.options import (
    SOURCE,
    confinement_options,
    no_cache_option,
    no_previous_option,
    previous_option,
    quiet_option,
)
from nixdock.cli.output import size_text
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.system.json_text import json_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access, Loaded
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock load hello.json
  nixdock load docker://ghcr.io/me/hello:v1 --into podman --tag hello:test
"""


@click.command("load", epilog=_EXAMPLES)
@click.argument("sources", nargs=-1, type=SOURCE, required=True, metavar="SOURCE...")
@into_option()
@tag_option
@runtime_platform_option
@previous_option
@no_previous_option
@no_cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the names.")
@store_options
@realise_option
@confinement_options
@access_options
@quiet_option
def command(
    sources: tuple[str, ...],
    into: str | None,
    tags: tuple[str, ...],
    platform: str | None,
    previous: tuple[Location, ...],
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
    *,
    no_previous: bool,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring each SOURCE into a container runtime, and print the names it has there.

    SOURCE is a spec, from which the image is built on its way, or the location of an image. The
    runtime pulls it from a registry that nixdock is as long as that takes, so that layers that it
    has are neither read nor sent. The layers continue the plan of the image that has the name there
    now, unless --previous or the spec names another. A runtime that can't reach the registry gets a
    stream instead, and so does a Docker that has a part of the image: also without the layers that
    it has.
    """
    if tags and len(sources) > 1:
        raise click.UsageError("--tag is for a single image")
    documents: list[dict[str, Any]] = []
    try:
        for source in sources:
            started = time.monotonic()
            loaded = load_source(
                source,
                into,
                tags,
                platform=platform,
                previous=previous,
                no_previous=no_previous,
                chosen=chosen,
                access=access,
                confinement=confinement,
                use_cache=not no_cache,
                quiet=quiet,
            )
            seconds = time.monotonic() - started
            into = loaded.runtime
            if as_json:
                documents.append({**loaded.document(), "seconds": round(seconds, 3)})
            if not quiet:
                click.echo(_summary(loaded, seconds), err=True)
            if not as_json:
                for name in loaded.names:
                    click.echo(name)
    except BaseException:
        if documents:
            # The runtime has these, whatever became of the next one: an error, or an interrupt.
            click.echo(json_text(documents), nl=False)
        raise
    if as_json:
        click.echo(json_text(documents[0] if len(sources) == 1 else documents), nl=False)


def _summary(loaded: Loaded, seconds: float) -> str:
    how = f"{sum(layer.sent > 0 for layer in loaded.layers)} sent"
    layers = counted(len(loaded.layers), "layer")
    return f"{loaded.runtime}: {layers}, {how}; {size_text(loaded.sent)}, {seconds:.1f} s"
