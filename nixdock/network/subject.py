"""What a request is about, for messages, and how it is sent: what servers of all kinds share."""

from __future__ import annotations

from typing import Protocol

from nixdock.errors import RemoteError
from nixdock.network.retrying import Pace

__all__ = ["Settings", "Subject"]


class Subject(Protocol):
    """Something that is asked of a server."""

    @property
    def server(self) -> str:
        """What kind of server it is, such as "the registry"."""

    def error(
        self, message: str, *, status: int | None = None, is_broken: bool = False
    ) -> RemoteError:
        """Return an error that names the server and what was asked for."""


class Settings(Protocol):
    """How servers are reached."""

    @property
    def insecure(self) -> bool:
        """Whether any certificate of the server itself is accepted."""

    @property
    def attempts(self) -> int:
        """How often a request is tried."""

    @property
    def timeout(self) -> float:
        """How many seconds a connection may be silent."""

    @property
    def pace(self) -> Pace:
        """How long to wait between attempts."""
