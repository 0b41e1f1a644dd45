"""`nixdock login`."""

from __future__ import annotations

import sys
from typing import Final

import click

from nixdock import login_registry
from nixdock.cli.access import insecure_access, insecure_option, password_of_standard_input

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock login ghcr.io
  pass ghcr.io | nixdock login ghcr.io --username me --password-stdin
"""


@click.command("login", epilog=_EXAMPLES)
@click.argument("host", metavar="HOST[/NAMESPACE]")
@click.option("-u", "--username", help="User name.  [default: ask for it]")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input, and do not ask for it.",
)
@click.option("--no-check", is_flag=True, help="Do not ask the registry whether they are right.")
@insecure_option
def command(
    host: str, username: str | None, *, password_stdin: bool, no_check: bool, insecure: bool
) -> None:
    """Store a user name and password for a registry, if it accepts them.

    They are kept where podman and skopeo keep theirs: in the file that REGISTRY_AUTH_FILE names, or
    in containers/auth.json in the runtime directory. Where a password is asked for, a token does as
    well.
    """
    if password_stdin:
        if username is None:
            raise click.UsageError("--password-stdin needs --username")
        password = password_of_standard_input()
    else:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError(
                "standard input is not a terminal; use --username and --password-stdin"
            )
        username = username or click.prompt("User name", err=True)
        password = click.prompt("Password or token", hide_input=True, err=True)
    file = login_registry(
        host, username, password, check=not no_check, access=insecure_access(insecure=insecure)
    )
    start = "" if no_check else f"logged in to {host}; "
    click.echo(f"{start}stored the credentials of {username} for {host} in {file}", err=True)
