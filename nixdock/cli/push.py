"""`nixdock push`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock.cli.access import access_options
from nixdock.cli.annotations import annotated, image_annotation_options
from nixdock.cli.attaching import attaching_options
from nixdock.cli.options import (
    COMPRESSION,
    OUTPUT_PATH,
    SOURCE,
    all_platforms_option,
    confinement_options,
    no_cache_option,
    no_previous_option,
    overridden,
    platform_option,
    previous_option,
    quiet_option,
    reuse_option,
)
from nixdock.cli.output import size_text
from nixdock.cli.progress import packing_progress
from nixdock.cli.source import read_source
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access, Attaching, Compression
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock push hello.json ghcr.io/me/hello:v1 ghcr.io/me/hello:latest
  nixdock push hello.json ghcr.io/me/hello:pr-7 --reuse ghcr.io/me/hello:latest
"""


@click.command("push", epilog=_EXAMPLES)
@click.argument("source", type=SOURCE)
@click.argument("destinations", nargs=-1, metavar="DEST...")
@click.option(
    "--compression",
    type=COMPRESSION,
    default="gzip",
    show_default=True,
    help="Compression of new layers.",
)
@reuse_option
@previous_option
@no_previous_option
@click.option("--graph", type=SOURCE, help="File with the closure's graph, in place of the spec's.")
@image_annotation_options
@store_options
@realise_option
@no_cache_option
@all_platforms_option
@platform_option
@click.option("--verify-known", is_flag=True, help="Pack known layers as well, and compare.")
@click.option(
    "--dry-run", is_flag=True, help="Send nothing; say what would be sent of a spec's image."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the references.")
@click.option("--digest-file", type=OUTPUT_PATH, help="File to write the manifest's digest to.")
@attaching_options
@confinement_options
@access_options
@quiet_option
def command(
    source: str,
    destinations: tuple[str, ...],
    compression: Compression,
    reuse: tuple[str, ...],
    previous: tuple[Location, ...],
    graph: str | None,
    digest_file: Path | None,
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
    annotations: dict[str, str],
    platform: str | None,
    *,
    attaching: Attaching,
    default_annotations: bool,
    all_platforms: bool,
    no_previous: bool,
    no_cache: bool,
    verify_known: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push the image SOURCE to each DEST, HOST/REPOSITORY[:TAG]; print the references by digest.

    SOURCE is a spec, which may be resolved, or dockerTools' stream configuration: the image is
    built on its way. Its layers continue the plan of the image that it replaces at DEST, unless
    --previous or the spec names another. Layers that the registry has already are neither packed
    nor sent, and no file of theirs is read. Or it is the location of an image: docker://REFERENCE,
    oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE], or a path; of an
    index, the image for --platform, or with --all-platforms the whole.
    """
    # Slow to load, and not needed to show the help.
    from nixdock import Pushing, push_image

    started = time.monotonic()
    image = read_source(source, previous, no_previous=no_previous)
    targets = destinations
    if not isinstance(image, str):
        image = chosen.applied_to(overridden(image, graph), access)
        image = annotated(image, annotations, default=default_annotations)
        # The image's own names say where it belongs.
        targets = destinations or tuple(map(str, image.references))
    elif annotations or not default_annotations:
        raise click.UsageError("annotations are for a spec; an image that exists stays as it is")
    if not targets:
        raise click.UsageError("an image that exists needs a DEST")
    with ExitStack() as stack:
        # Before anything is pushed, see whether it can be written.
        file = None if digest_file is None else stack.enter_context(whole_file(digest_file))
        progress = stack.enter_context(packing_progress(quiet=quiet))
        result = push_image(
            image,
            targets,
            Pushing(
                compression,
                verify_known=verify_known,
                dry_run=dry_run,
                use_cache=not no_cache,
                use_memory=not no_previous,
                platform=platform,
                all_platforms=all_platforms,
            ),
            reuse=reuse,
            attaching=attaching,
            access=access,
            progress=progress,
            confinement=confinement or "required",
        )
        if file is not None:
            file.write(f"{result.digest}\n".encode())
    seconds = time.monotonic() - started
    if not quiet:
        outcomes = [layer.outcome for layer in result.layers]
        counts = ", ".join(
            f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(sorted(outcomes))
        )
        verb = "would send" if dry_run else "sent"
        click.echo(
            f"{counted(len(outcomes), 'layer')}: {counts}; {verb} {size_text(result.sent)}"
            f" in {counted(result.requests, 'request')}, {seconds:.1f} s",
            err=True,
        )
    if as_json:
        click.echo(json_text({**result.document(), "seconds": round(seconds, 3)}), nl=False)
    else:
        for reference in result.references:
            click.echo(reference)
