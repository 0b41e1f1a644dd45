"""The option for an image's form, which commands that write images share."""

from __future__ import annotations

import click

from nixdock.oci.layout import Format

__all__ = ["format_option"]

format_option = click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.ARCHIVE.value,
    show_default=True,
    help="archive is an OCI archive and a docker-archive at once.",
)
