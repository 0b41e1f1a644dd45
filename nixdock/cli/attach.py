"""`nixdock attach`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import attach_artifact, attach_sbom
from nixdock.cli.access import access_options
from nixdock.cli.attaching import annotation_option, platform_of_index_option, sbom_option
from nixdock.cli.location import LOCATION
from nixdock.cli.options import FILE_OR_STDIN
from nixdock.system.input_files import read_bytes
from nixdock.system.json_text import json_text
from nixdock.system.text import path_text

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock attach ghcr.io/me/app:v1 --sbom spdx
  nixdock attach oci:app:v1 --file report.json --type application/vnd.example.report+json
"""


@click.command("attach", epilog=_EXAMPLES)
@click.argument("location", type=LOCATION)
@click.option("--file", "file", type=FILE_OR_STDIN, help="File to attach; - is standard input.")
@click.option("--type", "artifact_type", help="Media type of the file.")
@sbom_option
@click.option(
    "--meta",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="For --sbom: licences and more, as for `nixdock sbom`.",
)
@annotation_option
@platform_of_index_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the reference.")
@access_options
def command(
    location: Location,
    *,
    file: Path | None,
    artifact_type: str | None,
    sbom: str | None,
    meta: Path | None,
    annotations: dict[str, str],
    platform: str | None,
    as_json: bool,
    access: Access | None,
) -> None:
    """Attach a file or a bill of materials to the image or index at LOCATION.

    LOCATION is docker://REFERENCE, where docker:// may be left out, or an OCI layout,
    oci:DIRECTORY[:TAG]. A manifest whose subject is the image, which itself stays as it is, is
    stored beside it and listed among its referrers: where a registry keeps no lists of referrers,
    under the tag sha256-DIGEST. The reference to the manifest is printed. What is attached already
    is not attached again.
    """
    if (file is None) is (sbom is None):
        raise click.UsageError("attach either --file with --type, or --sbom")
    if meta is not None and sbom is None:
        raise click.UsageError("--meta is for --sbom")
    if (file is None) is not (artifact_type is None):
        raise click.UsageError("--file and --type belong together")
    if sbom is not None:
        attached = attach_sbom(
            location, sbom, meta=meta, annotations=annotations, platform=platform, access=access
        )
    else:
        assert file is not None and artifact_type is not None
        attached = attach_artifact(
            location,
            read_bytes(file, "the file"),
            artifact_type,
            annotations=annotations,
            title=None if file == Path("-") else path_text(os.fsencode(file.name)),
            platform=platform,
            access=access,
        )
    text = json_text(attached.document()) if as_json else f"{attached.reference}\n"
    click.echo(text, nl=False)
