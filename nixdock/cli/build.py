"""`nixdock build`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import (
    Format,
    build_image,
    image_digests,
    read_spec,
    remember_layers,
)
from nixdock.cli.access import access_options
from nixdock.cli.annotations import annotated, image_annotation_options
from nixdock.cli.attaching import attaching_options
from nixdock.cli.build_result import BuildResult
from nixdock.cli.options import (
    COMPRESSION,
    OUTPUT,
    OUTPUT_PATH,
    confinement_options,
    format_option,
    names_text,
    no_cache_option,
    output_tag,
    overridden,
    override_options,
    quiet_option,
    spec_argument,
)
from nixdock.cli.output import check_not_terminal, is_standard_output, is_within
from nixdock.cli.overwriting import keep_files_of
from nixdock.cli.progress import packing_progress, say
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text

if TYPE_CHECKING:
    from nixdock import Access, Attaching, Compression
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock build hello.json -o hello.tar
  nixdock build hello.json -o hello --format oci-layout --compression zstd
  docker load < hello.tar
"""


@click.command("build", epilog=_EXAMPLES)
@spec_argument
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="File or directory to write; - is standard output.",
)
@format_option
@click.option(
    "--compression",
    type=COMPRESSION,
    help="Compression of each layer or, for a docker-archive, of the whole file."
    "  [default: gzip, for a docker-archive none]",
)
@click.option(
    "--legacy",
    is_flag=True,
    help="Add to a docker-archive the files that Docker needed before version 1.10.",
)
@override_options
@image_annotation_options
@store_options
@realise_option
@attaching_options
@confinement_options
@click.option("--dry-run", is_flag=True, help="Only print each layer's digest and size.")
@click.option(
    "--reuse",
    multiple=True,
    metavar="REFERENCE",
    help="For --dry-run: an image whose layers need not be read, in a registry or, as a location or"
    " a path, in a file. Repeatable.",
)
@no_cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the digest.")
@click.option(
    "--metadata-file", "metadata", type=OUTPUT_PATH, help="File to write the JSON to as well."
)
@access_options
@quiet_option
def command(
    spec: Path,
    target: Path | None,
    form: str,
    compression: Compression | None,
    graph: str | None,
    tags: tuple[str, ...],
    previous: tuple[Location, ...],
    confinement: str | None,
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    annotations: dict[str, str],
    *,
    attaching: Attaching,
    default_annotations: bool,
    no_cache: bool,
    legacy: bool,
    tag_of_output: bool,
    dry_run: bool,
    as_json: bool,
    metadata: Path | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Build the image that SPEC describes and print its digest.

    The digest is that of the image's manifest or, for a docker-archive, which has no manifest, of
    its config. An existing file is replaced only once the new image is complete. If the image goes
    to standard output, the digest goes to standard error. With --json, the names, the size and the
    layers are printed, too.

    --dry-run reads no file of a layer that is known: from an earlier build or push of this user, or
    from an image that --reuse, --previous or the spec's layering.previous names.
    """
    if target is None and not dry_run:
        raise click.UsageError("no output: give one with -o, or use --dry-run")
    writes = target is not None and not dry_run
    if metadata is not None and target is not None and is_within(metadata, target):
        raise click.UsageError("the file for the metadata can't be within the image")
    _check_options(reuse=bool(reuse), attaching=bool(attaching), writes=writes)
    if legacy and form != Format.DOCKER_ARCHIVE:
        raise click.UsageError(f"--legacy is for --format {Format.DOCKER_ARCHIVE}, not {form}")
    if tag_of_output:
        tags = (output_tag(target, tags),)
    if target is not None and not dry_run:
        check_not_terminal(target)
    started = time.monotonic()
    parsed = chosen.applied_to(overridden(read_spec(spec), graph, tags, previous), access)
    parsed = annotated(parsed, annotations, default=default_annotations)
    keep_files_of(parsed)
    if not quiet:
        say(f"planning {names_text(parsed)}")
    with ExitStack() as stack:
        # Before anything is built, see whether it can be written.
        file = None if metadata is None else stack.enter_context(whole_file(metadata))
        if target is None or dry_run:
            target = None
            image = image_digests(
                parsed,
                form=form,
                compression=compression,
                access=access,
                confinement=confinement or "required",
                reuse=reuse,
                use_cache=not no_cache,
            )
            if not as_json:
                lines = [f"{layer.digest} {layer.size}\n" for layer in image.layers]
                click.echo("".join(lines), nl=False)
        else:
            with packing_progress(quiet=quiet) as progress:
                image = build_image(
                    parsed,
                    target,
                    form=form,
                    compression=compression,
                    legacy=legacy,
                    attaching=attaching,
                    progress=progress,
                    access=access,
                    confinement=confinement or "required",
                )
            if not no_cache:
                remember_layers(image)
        result = BuildResult(image, Format(form), target)
        document = json_text(result.document())
        if file is not None:
            file.write(document)
    if not quiet:
        say(result.summary(time.monotonic() - started))
    text = document if as_json else f"{result.digest}\n"
    click.echo(text, nl=False, err=target is not None and is_standard_output(target))


def _check_options(*, reuse: bool, attaching: bool, writes: bool) -> None:
    if reuse and writes:
        raise click.UsageError("--reuse is for --dry-run")
    if attaching and not writes:
        raise click.UsageError("--sbom and --provenance are for an image that is written")
