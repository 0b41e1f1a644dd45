"""`nixdock pull`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import pull_image
from nixdock.cli.access import access_options
from nixdock.cli.copy_report import copy_options, pulled
from nixdock.cli.options import OUTPUT, format_option, quiet_option
from nixdock.cli.output import check_not_terminal, is_standard_output
from nixdock.cli.progress import reading_progress, say
from nixdock.spec.times import source_date_epoch
from nixdock.system.json_text import json_text

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock pull ghcr.io/me/hello:v1 -o hello.tar
  nixdock pull debian:12 -o debian --format oci-layout --platform linux/arm64
"""


@click.command("pull", epilog=_EXAMPLES)
@click.argument("reference")
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    required=True,
    help="File or directory to write; - is standard output.",
)
@format_option
@copy_options
@access_options
@quiet_option
def command(
    reference: str,
    target: Path,
    form: str,
    platform: str | None,
    access: Access | None,
    *,
    all_platforms: bool,
    referrers: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch the image REFERENCE from its registry and print the reference with its digest.

    REFERENCE is HOST/REPOSITORY with :TAG or @DIGEST; without a host, it is an image of Docker Hub.
    The manifest stays as it is, so that its digest does, except in a docker-archive, which has
    none. Every blob is verified. An earlier OCI layout at the output is replaced, but blobs that it
    has are not fetched; a pull that broke goes on where it stopped. If the image goes to standard
    output, the reference goes to standard error.
    """
    check_not_terminal(target)
    with reading_progress(quiet=quiet) as progress:
        result = pull_image(
            reference,
            target,
            form=form,
            platform=platform,
            all_platforms=all_platforms,
            referrers=referrers,
            access=access,
            mtime=source_date_epoch(),
            progress=progress,
        )
    if not quiet:
        say(f"wrote {target}: {pulled(result)}")
    text = json_text(result.document()) if as_json else f"{result.digest_reference}\n"
    click.echo(text, nl=False, err=is_standard_output(target))
