"""`nixdock referrers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import list_referrers, read_referrer
from nixdock.cli.access import access_options
from nixdock.cli.attaching import platform_of_index_option
from nixdock.cli.location import LOCATION
from nixdock.cli.options import OUTPUT
from nixdock.cli.progress import wrote
from nixdock.cli.table import Column, table_lines, terminal_width
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock import Access, Referrer
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock referrers ghcr.io/me/app:v1
  nixdock referrers ghcr.io/me/app:v1 --type application/spdx+json -o app.spdx.json
"""

_COLUMNS: Final = (
    Column("type", flexible=True),
    Column("digest"),
    Column("annotations", flexible=True),
)


@click.command("referrers", epilog=_EXAMPLES)
@click.argument("location", type=LOCATION)
@click.option("--type", "artifact_type", help="Only those of this type.")
@click.option("--digest", help="With -o: the one with this digest.")
@click.option(
    "-o", "--output", type=OUTPUT, help="File to write the content to; - is standard output."
)
@platform_of_index_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
@access_options
def command(
    location: Location,
    *,
    artifact_type: str | None,
    digest: str | None,
    output: Path | None,
    platform: str | None,
    as_json: bool,
    access: Access | None,
) -> None:
    """List what is attached to the image or index at LOCATION: signatures, SBOMs and the like.

    LOCATION is docker://REFERENCE, where docker:// may be left out, or an OCI layout, in a
    directory or an archive. With -o, what is attached is read, verified and written; --type or
    --digest must select it if there are several.
    """
    if output is not None and as_json:
        raise click.UsageError("--json prints a list, and -o writes what is attached")
    if output is None and digest is not None:
        raise click.UsageError("--digest is for -o")
    if output is not None:
        data = read_referrer(
            location, artifact_type=artifact_type, digest=digest, platform=platform, access=access
        )
        with whole_file(output) as stream:
            stream.write(data)
        wrote(output, "what is attached")
        return
    subject, found = list_referrers(
        location, artifact_type=artifact_type, platform=platform, access=access
    )
    if as_json:
        document = {"subject": subject, "referrers": [each.document() for each in found]}
        click.echo(json_text(document), nl=False)
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Sequence[Referrer]) -> list[str]:
    rows = [
        (
            shown(each.artifact_type or "-"),
            each.digest,
            shown(", ".join(f"{key}={value}" for key, value in sorted(each.annotations.items()))),
        )
        for each in found
    ]
    return [*table_lines(_COLUMNS, rows, terminal_width())] if rows else []
