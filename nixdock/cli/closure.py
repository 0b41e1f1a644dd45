"""`nixdock closure`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from nixdock import query_closure
from nixdock.cli.access import access_options
from nixdock.cli.output import size_text
from nixdock.cli.store_paths import store_path_at
from nixdock.cli.stores import ChosenStores, store_options
from nixdock.system.json_text import json_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock closure /nix/store/…-hello-2.12 --store https://cache.nixos.org
  nixdock closure ROOT --store https://cache.example.org --json | nixdock plan -
"""


@click.command("closure", epilog=_EXAMPLES)
@click.argument("more_roots", nargs=-1, metavar="ROOT...")
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print a graph, which all commands read.")
@access_options
def command(
    more_roots: tuple[str, ...], chosen: ChosenStores, access: Access | None, *, as_json: bool
) -> None:
    """Print the closure of each ROOT, a store path or a link to one, with the sizes of the NARs.

    The closure is that in the local store, as far as Nix knows the paths there, and in the binary
    caches of --store, of which only narinfos are fetched.
    """
    roots = [store_path_at(text) for text in (*chosen.roots, *more_roots)]
    if not roots:
        raise click.UsageError("expected at least one ROOT")
    closure = query_closure(
        roots, stores=chosen.urls, trusted_public_keys=chosen.keys, access=access
    )
    if as_json:
        document = [
            {
                "path": info.path,
                "narHash": str(info.nar_hash),
                "narSize": info.nar_size,
                "references": info.references,
                **({} if info.deriver is None else {"deriver": info.deriver}),
            }
            for info in closure
        ]
        click.echo(json_text(document), nl=False)
        return
    for info in closure:
        click.echo(f"{info.path} {info.nar_size}")
    click.echo(f"{counted(len(closure), 'store path')}, {size_text(closure.nar_size)}", err=True)
