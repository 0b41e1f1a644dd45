"""`nixdock generate-key-pair`."""

from __future__ import annotations

from typing import Final

import click

from nixdock import generate_key_pair
from nixdock.cli.signing_key import new_password

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock generate-key-pair
  nixdock generate-key-pair -o app
"""


@click.command("generate-key-pair", epilog=_EXAMPLES)
@click.option(
    "-o",
    "--output",
    "prefix",
    metavar="PREFIX",
    default="nixdock",
    show_default=True,
    help="What the names of the files begin with.",
)
def command(prefix: str) -> None:
    """Write a new private key to PREFIX.key, and its public key to PREFIX.pub.

    The private key is encrypted with a password, which is read from COSIGN_PASSWORD, or asked for.
    Both are for ECDSA on the curve P-256, and in the form of cosign, which can use them, too.
    """
    private, public = f"{prefix}.key", f"{prefix}.pub"
    generate_key_pair(private, public, new_password())
    click.echo(f"wrote the private key to {private}, and the public key to {public}", err=True)
