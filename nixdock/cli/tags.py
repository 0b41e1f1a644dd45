"""`nixdock tags`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from nixdock import list_tags
from nixdock.cli.access import access_options
from nixdock.system.json_text import json_text
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock tags ghcr.io/me/hello
"""


@click.command("tags", epilog=_EXAMPLES)
@click.argument("repository")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(repository: str, access: Access | None, *, as_json: bool) -> None:
    """Print the tags of REPOSITORY in its registry, one on each line.

    REPOSITORY is HOST/NAME; without a host, it is one of Docker Hub.
    """
    tags = list_tags(repository, access=access)
    if as_json:
        click.echo(json_text(tags), nl=False)
        return
    for tag in tags:
        click.echo(shown(tag, len(tag)))
