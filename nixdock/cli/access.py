"""The options that say how registries are reached, and as whom."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from nixdock.errors import InputError

if TYPE_CHECKING:
    from nixdock import Access, Credentials

__all__ = ["access_options", "insecure_access", "insecure_option", "password_of_standard_input"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_MOST_PASSWORD: Final = 1 << 20

insecure_option = click.option(
    "--insecure",
    is_flag=True,
    help="Accept any certificate of a registry, and plain HTTP: for tests and private networks.",
)


def access_options(command: _Command) -> _Command:
    """Add --insecure, --username and --password-stdin to a command.

    The command takes the parameter `access`: an `Access`, or None without these options.
    """

    @functools.wraps(command)
    def with_access(
        *args: Any, insecure: bool, username: str | None, password_stdin: bool, **others: Any
    ) -> Any:
        if (username is None) is password_stdin:
            raise click.UsageError("--username and --password-stdin belong together")
        access = insecure_access(insecure=insecure)
        if username is not None:
            access = _as_user(access, username, password_of_standard_input())
        return command(*args, access=access, **others)

    options = (
        click.option(
            "--password-stdin",
            is_flag=True,
            help="Read the password for --username from standard input.",
        ),
        click.option(
            "--username",
            help="User name at the registry, in place of stored credentials.",
        ),
        insecure_option,
    )
    made = functools.reduce(lambda function, option: option(function), options, with_access)
    return cast("_Command", made)


def insecure_access(*, insecure: bool) -> Access | None:
    """Return how registries are reached with --insecure, or None for the default."""
    if not insecure:
        return None
    from nixdock import Access

    return Access(insecure=True)


def _as_user(access: Access | None, username: str, password: str) -> Access:
    """Let the first registry that asks for credentials get these, and no other one."""
    from dataclasses import replace

    from nixdock import Access, Credentials

    credentials = Credentials(username, password)
    hosts: list[str] = []

    def find(host: str, _repository: str) -> Credentials:
        hosts.append(host)
        if host != hosts[0]:
            raise InputError(
                f"--username is for one registry, but both {hosts[0]} and {host} want credentials;"
                f" store them with `nixdock login {host}`"
            )
        return credentials

    access = access or Access()
    return replace(access, find=find, elsewhere=access)


def password_of_standard_input() -> str:
    """Return standard input as text, without the newline that programs print at the end.

    Raise InputError if it is too long, or not text.
    """
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_MOST_PASSWORD + 1)
    if len(data) > _MOST_PASSWORD:
        raise InputError(f"the password on standard input has more than {_MOST_PASSWORD} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InputError("the password on standard input is not UTF-8 text") from None
