"""`nixdock tarsum`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import click

from nixdock import tarsum
from nixdock.cli.path_types import InputPath
from nixdock.tar.tarsum import ALGORITHMS, TarSumVersion

__all__ = ["command"]

_VERSIONS: Final = [version.name.lower() for version in TarSumVersion]


_EXAMPLES: Final = """\b
Examples:
  nixdock tarsum layer.tar
  nixdock export hello.tar | nixdock tarsum
"""


@click.command("tarsum", epilog=_EXAMPLES)
@click.argument(
    "file",
    type=InputPath(path_type=Path, allow_dash=True, exists=True, dir_okay=False),
    default="-",
)
@click.option(
    "--version",
    type=click.Choice(_VERSIONS),
    default="v1",
    show_default=True,
    help="v0 includes modification times; v1 and dev include extended attributes.",
)
@click.option(
    "--hash",
    "algorithm",
    type=click.Choice(ALGORITHMS),
    default=ALGORITHMS[0],
    show_default=True,
    help="Hash function.",
)
@click.option(
    "--names/--ignore-names",
    default=True,
    help="Include the names of owners and groups or, as Docker does since 2018, ignore them.",
)
def command(file: Path, version: str, algorithm: str, *, names: bool) -> None:
    """Print the TarSum of the tar in FILE or, by default, on standard input.

    The sum does not depend on the order of the tar's members.
    """
    is_stdin = str(file) == "-"
    if is_stdin and sys.stdin is None:
        raise click.UsageError("standard input is closed; name a file")
    origin = "standard input" if is_stdin else str(file)
    with nullcontext(sys.stdin.buffer) if is_stdin else file.open("rb") as stream:
        text = tarsum(stream, version=version, algorithm=algorithm, names=names, origin=origin)
    click.echo(text)
