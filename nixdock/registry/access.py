"""How registries are reached, and as whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from nixdock.network.retrying import Pace

__all__ = ["Access", "Account"]


class Account(Protocol):
    """What a registry knows somebody by: a name and a password, or an identity token."""

    @property
    def username(self) -> str:
        """The name."""

    @property
    def password(self) -> str:
        """The password, which may also be a token that the registry takes as one."""

    @property
    def identity_token(self) -> str:
        """A token that the registry's token server exchanges for others."""


def _stored_account(host: str, repository: str) -> Account | None:
    # Binary caches are reached in the same way, but never as an account of a registry.
    from nixdock.registry.credentials import find_credentials  # noqa: PLC0415

    return find_credentials(host, repository)


@dataclass(frozen=True, slots=True)
class Access:
    """The choices of a caller; the others come from the environment.

    With `insecure`, any certificate of the registry's host is accepted, and plain HTTP where there
    is no HTTPS. `attempts` is how often a request is tried, and `timeout` how many seconds a
    connection may be silent. `credentials` are those that were chosen; else `find` looks for those
    that are stored, by the host and the repository. `elsewhere` is how to reach hosts that take the
    place of a named one, such as mirrors, if not like it without `credentials`.
    """

    insecure: bool = False
    attempts: int = 5
    timeout: float = 60.0
    # A repr may end up in a log.
    credentials: Account | None = field(default=None, repr=False)
    find: Callable[[str, str], Account | None] = _stored_account
    pace: Pace = field(default_factory=Pace, repr=False)
    elsewhere: Access | None = None
