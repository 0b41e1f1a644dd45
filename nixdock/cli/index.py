"""`nixdock index`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock.cli.access import access_options
from nixdock.cli.annotations import annotation_options
from nixdock.cli.copy_report import referrers_option
from nixdock.cli.options import (
    COMPRESSION,
    OUTPUT,
    OUTPUT_PATH,
    SOURCE,
    confinement_options,
    format_option,
    no_cache_option,
    output_tag,
    quiet_option,
    reuse_option,
)
from nixdock.cli.output import (
    check_not_terminal,
    is_standard_output,
    is_within,
    size_text,
)
from nixdock.cli.progress import packing_progress
from nixdock.cli.source import read_source
from nixdock.cli.stores import ChosenStores, cache_options, realise_option
from nixdock.oci.platforms import platform_text
from nixdock.oci.reference import Reference
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nixdock import Access, Compression, ImageIndex, ImageSpec

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock index amd64.json arm64.json --push ghcr.io/me/hello:v1
  nixdock index oci:amd64 oci:arm64 -o hello.tar --tag hello:v1
"""


@click.command("index", epilog=_EXAMPLES)
@click.argument("arguments", nargs=-1, type=SOURCE, metavar="IMAGE...")
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="File or directory to write; - is standard output.",
)
@click.option(
    "--push",
    "destinations",
    multiple=True,
    metavar="DEST",
    help="Where to push the index instead, as HOST/REPOSITORY[:TAG]. Repeatable.",
)
@click.option(
    "--of",
    "images",
    multiple=True,
    type=SOURCE,
    metavar="IMAGE",
    help="An image of the index; the arguments are then destinations, as of nixdock push."
    " Repeatable.",
)
@format_option
@click.option(
    "--compression",
    type=COMPRESSION,
    default="gzip",
    show_default=True,
    help="Compression of the layers of images that are built.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME:TAG",
    help="Name of the index, which is also where it is pushed without a DEST. Repeatable."
    "  [default: the names that all images have]",
)
@click.option(
    "--tag-of-output",
    metavar="NAME",
    help="Give the index this name, with the hash in the store path of the output as its tag.",
)
@referrers_option
@annotation_options("index", "those that all images have in common")
@reuse_option
@cache_options
@realise_option
@no_cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the digest.")
@click.option("--digest-file", type=OUTPUT_PATH, help="File to write the index's digest to.")
@confinement_options
@access_options
@quiet_option
def command(
    arguments: tuple[str, ...],
    target: Path | None,
    destinations: tuple[str, ...],
    images: tuple[str, ...],
    form: str,
    compression: Compression,
    tags: tuple[str, ...],
    tag_of_output: str | None,
    annotations: dict[str, str],
    reuse: tuple[str, ...],
    digest_file: Path | None,
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
    *,
    default_annotations: bool,
    referrers: bool,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Put the images IMAGE for several platforms into one index, and print its digest.

    Whoever pulls the index gets the image for their platform. Each IMAGE is a spec, which may be
    resolved, from which the image is built on its way, or a location: docker://REFERENCE,
    oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE], or a path. Of an
    index, all images are taken over, with their attestations. Manifests stay as they are. Two
    images for the same platform are an error.

    The index lists the images sorted by platform, so the order of the arguments does not matter.
    Images are pushed by digest, then the index, and tags last.
    """
    # Slow to load, and not needed to show the help.
    from nixdock import Indexing, Pushing, build_index, push_index

    if images:
        destinations = (*destinations, *arguments)
    images = images or arguments
    if tag_of_output is not None:
        tags = (f"{tag_of_output}:{output_tag(target, tags)}",)
    names = tuple(str(Reference.parse(tag)) for tag in tags)
    if target is None:
        destinations = destinations or names
    elif destinations:
        raise click.UsageError(
            "an index is written with -o, or it is pushed: choose one of the two"
        )
    if target is None and not destinations:
        raise click.UsageError("no output: give a file with -o, or a registry with --push")
    if target is not None and reuse:
        raise click.UsageError("--reuse is for --push")
    if target is not None:
        check_not_terminal(target)
        if digest_file is not None and is_within(digest_file, target):
            raise click.UsageError("the file for the digest can't be within the index")
    sources = [_source(image, chosen, access) for image in images]
    options = Indexing(
        names=names,
        annotations=annotations,
        default_annotations=default_annotations,
        compression=compression,
        mtime=source_date_epoch(),
        use_cache=not no_cache,
        referrers=referrers,
    )
    with ExitStack() as stack:
        # Before anything is pushed, see whether it can be written.
        file = None if digest_file is None else stack.enter_context(whole_file(digest_file))
        progress = stack.enter_context(packing_progress(quiet=quiet))
        if target is None:
            pushing = Pushing(compression, use_cache=not no_cache)
            result = push_index(
                sources,
                destinations,
                options,
                pushing,
                reuse=reuse,
                access=access,
                progress=progress,
                confinement=confinement or "required",
            )
        else:
            result = build_index(
                sources,
                target,
                options,
                form=form,
                access=access,
                progress=progress,
                confinement=confinement or "required",
            )
        if file is not None:
            file.write(f"{result.digest}\n".encode())
    for line in () if quiet else _lines(result):
        click.echo(line, err=True)
    digests = result.references or (result.digest,)
    text = json_text(result.document()) if as_json else "".join(f"{each}\n" for each in digests)
    click.echo(text, nl=False, err=target is not None and is_standard_output(target))


def _source(image: str, chosen: ChosenStores, access: Access | None) -> ImageSpec | str:
    source = read_source(image)
    return source if isinstance(source, str) else chosen.applied_to(source, access)


def _lines(result: ImageIndex) -> Iterator[str]:
    """Yield a line for each image of the index, and a summary."""
    rest = 0
    for image in result.images:
        if image.platform is None:
            rest += 1
        else:
            yield f"{platform_text(image.platform):<16} {image.digest[:19]} {shown(image.origin)}"
    names = shown(", ".join(result.names)) or "an index without a name"
    along = f" and {rest} of what belongs to them" if rest else ""
    attached = result.attachments
    along += f", {counted(len(attached), 'attachment')}" if attached else ""
    sent = f"; sent {size_text(result.sent)}" if result.references else ""
    yield f"{names}: {counted(len(result.images) - rest, 'image')}{along}{sent}"
