"""`nixdock tarsum`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from nixdock.tar.tarsum import ALGORITHMS, TarSumVersion, tarsum

__all__ = ["command"]

_VERSIONS = {version.name.lower(): version for version in TarSumVersion}


@click.command("tarsum")
@click.argument(
    "file",
    type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False),
    default="-",
)
@click.option(
    "--version",
    type=click.Choice(list(_VERSIONS)),
    default="v1",
    show_default=True,
    help="v0 counts the times of change; v1, and dev, the extended attributes.",
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
    help="Count the names of users and groups, or take them as empty, like Docker since 2018.",
)
def command(file: Path, version: str, algorithm: str, *, names: bool) -> None:
    """Print the TarSum of the tar in FILE, or on standard input.

    It does not depend on the order of the files in the tar.
    """
    what = "standard input" if str(file) == "-" else str(file)
    with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as stream:
        click.echo(tarsum(stream, _VERSIONS[version], algorithm, names=names, what=what))
