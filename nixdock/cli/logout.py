"""`nixdock logout`."""

from __future__ import annotations

from typing import Final

import click

from nixdock import logout_registry
from nixdock.system.presence import exists

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock logout ghcr.io
"""


@click.command("logout", epilog=_EXAMPLES)
@click.argument("host", metavar="[HOST[/NAMESPACE]]", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Remove the credentials of all registries.")
def command(host: str | None, *, everywhere: bool) -> None:
    """Remove the credentials for a registry that `nixdock login` has stored.

    They are removed from the same file, and from its credential helper if it names one.
    """
    if (host is None) != everywhere:
        raise click.UsageError("name a registry, or use --all, but not both")
    file = logout_registry(host)
    if not exists(file):
        click.echo(f"there are no credentials: {file} does not exist", err=True)
        return
    click.echo(f"removed the credentials for {host or 'all registries'} from {file}", err=True)
