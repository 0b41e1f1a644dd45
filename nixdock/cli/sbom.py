"""`nixdock sbom`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import list_packages, sbom_json
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import FILE_OR_STDIN, OUTPUT, platform_option
from nixdock.cli.output import size_text
from nixdock.cli.progress import wrote
from nixdock.cli.table import Column, table_lines, terminal_width
from nixdock.system.atomic import whole_file
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock import Access, Bill
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock sbom app.tar -o app.spdx.json
  nixdock sbom graph.json --format cyclonedx --meta meta.json
  nixdock sbom ghcr.io/me/app:v1 --format table
"""

_TABLE: Final = "table"
_COLUMNS: Final = (
    Column("package", flexible=True),
    Column("version", flexible=True),
    Column("type"),
    Column("outputs", right=True),
    Column("size", right=True),
    Column("licence", flexible=True),
)


@click.command("sbom", epilog=_EXAMPLES)
@click.argument("source", type=LOCATION)
@click.option(
    "--format",
    "form",
    type=click.Choice(["spdx", "cyclonedx", _TABLE]),
    default="spdx",
    show_default=True,
    help="SPDX 2.3 or CycloneDX 1.6, as JSON, or a table for people.",
)
@click.option(
    "-o", "--output", type=OUTPUT, default="-", help="File to write.  [default: standard output]"
)
@click.option(
    "--meta",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="Licences, homepages and more: what nix-env --query --available --json --meta --out-path"
    " prints, or the Nix library's packageMeta.",
)
@platform_option
@access_options
def command(
    source: Location,
    *,
    form: str,
    output: Path,
    meta: Path | None,
    platform: str | None,
    access: Access | None,
) -> None:
    """List the packages of SOURCE, as a software bill of materials.

    SOURCE is a reference graph in any form in which Nix exports one, a spec, which may be resolved,
    or the location of an image. The outputs of a derivation are one package. A graph, a spec that
    names one and the Nix database in an image tell on what a package depends. Layers that nixdock
    did not make are searched for the databases of dpkg, apk and rpm.

    The same SOURCE gives the same bytes on every machine: identifiers follow from the content, and
    the time is that of the image or SOURCE_DATE_EPOCH.
    """
    bill = list_packages(source, meta=meta, platform=platform, access=access)
    if form == _TABLE:
        data = "".join(f"{line}\n" for line in _lines(bill)).encode()
    else:
        data = sbom_json(bill, form)
    with whole_file(output) as stream:
        stream.write(data)
    wrote(output, "the bill of materials")


def _lines(bill: Bill) -> Iterator[str]:
    rows = [*_rows(bill)]
    yield from table_lines(_COLUMNS, rows, terminal_width())
    if bill.base is not None and bill.base.unread:
        yield ""
        how = "not all of it was examined" if bill.base.packages else "not examined"
        yield f"base image: {how}, as {bill.base.unread}"


def _rows(bill: Bill) -> Iterator[tuple[str, ...]]:
    for package in sorted(bill.packages, key=lambda each: (each.name, each.version, each.path)):
        licenses = ", ".join(each.text for each in package.meta.licenses)
        size = size_text(package.nar_size) if package.nar_size else ""
        yield (
            shown(package.name),
            shown(package.version),
            "nix",
            str(len(package.outputs)),
            size,
            shown(licenses),
        )
    for each in bill.base.packages if bill.base is not None else ():
        yield shown(each.name), shown(each.version), each.kind, "", "", shown(each.license)
