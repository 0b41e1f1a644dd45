"""`nixdock copy`."""

from __future__ import annotations

import click

from nixdock import Access, copy_image
from nixdock.cli.copy_report import copied_lines, copy_options
from nixdock.cli.options import access_option, quiet_option
from nixdock.cli.output import is_standard_output, pretty_json, standard_output
from nixdock.cli.progress import reading_progress
from nixdock.oci.location import FileLocation, parse_location
from nixdock.spec.times import source_date_epoch

__all__ = ["command"]


@click.command("copy")
@click.argument("source")
@click.argument("destination")
@copy_options
@access_option
@quiet_option
def command(
    source: str,
    destination: str,
    platform: str | None,
    access: Access | None,
    *,
    all_platforms: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy an image from SOURCE to DESTINATION and print its digest there.

    Each is docker://REFERENCE, oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:REFERENCE], or a path. Manifests stay as they are. What DESTINATION has
    already is not sent; blobs in another repository of the same registry are mounted, and others go
    from registry to registry without touching the disk. An OCI layout keeps its other images. If
    the image goes to standard output, the digest goes to standard error.
    """
    binary = _is_standard_output(destination)
    if binary:
        standard_output("name a file, or use a pipe")
    with reading_progress(quiet=quiet) as progress:
        result = copy_image(
            source,
            destination,
            platform=platform,
            all_platforms=all_platforms,
            access=access,
            mtime=source_date_epoch(),
            progress=progress,
        )
    for line in () if quiet else copied_lines(result):
        click.echo(line, err=True)
    text = pretty_json(result.document()) if as_json else f"{result.digest_reference}\n"
    click.echo(text, nl=False, err=binary)


def _is_standard_output(destination: str) -> bool:
    match parse_location(destination):
        case FileLocation(path):
            return is_standard_output(path)
    return False
