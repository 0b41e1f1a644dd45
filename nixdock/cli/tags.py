"""`nixdock tags`."""

from __future__ import annotations

import click

from nixdock import list_tags
from nixdock.cli.output import pretty_json
from nixdock.registry.access import Access
from nixdock.system.text import printable

__all__ = ["command"]


@click.command("tags")
@click.argument("repository")
@click.option(
    "--insecure",
    is_flag=True,
    help="Accept any certificate, and plain HTTP where there is no HTTPS.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(repository: str, *, insecure: bool, as_json: bool) -> None:
    """Print the tags of REPOSITORY in its registry, one on each line.

    REPOSITORY is HOST/NAME; without a host, it is one of Docker Hub.
    """
    tags = list_tags(repository, access=Access(insecure=insecure))
    if as_json:
        click.echo(pretty_json(tags), nl=False)
        return
    for tag in tags:
        click.echo(printable(tag))
