"""The options with which an image is signed, and the password of a private key."""

from __future__ import annotations

import os
import sys

import click

from nixdock.cli import KEY_PASSWORD
from nixdock.cli.options import FILE
from nixdock.errors import InputError

__all__ = ["asked_password", "new_password", "signing_key_option"]

signing_key_option = click.option(
    "--key",
    type=FILE,
    required=True,
    metavar="FILE",
    help="Private key, as cosign makes it, or in PEM. A password is read from COSIGN_PASSWORD, or"
    " asked for.",
)


def asked_password() -> bytes:
    """Return the password of a private key; raise InputError if nobody can be asked for it."""
    known = _of_environment()
    return _prompted("Password of the private key", confirm=False) if known is None else known


def new_password() -> bytes:
    """Return the password for a new private key, which is asked for twice."""
    known = _of_environment()
    return _prompted("Password for the new private key", confirm=True) if known is None else known


def _of_environment() -> bytes | None:
    text = click.get_current_context().meta[KEY_PASSWORD]
    return None if text is None else os.fsencode(text)


def _prompted(text: str, *, confirm: bool) -> bytes:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(
            f"the {text[0].lower()}{text[1:]} can't be asked for, as standard input is no terminal;"
            f" set {KEY_PASSWORD}, which may be empty"
        )
    password: str = click.prompt(
        text, hide_input=True, err=True, default="", show_default=False, confirmation_prompt=confirm
    )
    return password.encode()
