"""Reaching the fake registry without waiting: a clock that tests turn, and accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nixdock.registry.access import Access
from nixdock.registry.transport import Transport
from tests.unit.network.clock import Clock

from .fake_registry import FakeRegistry

__all__ = ["Clock", "Login", "reach"]


@dataclass(frozen=True)
class Login:
    """An account of the fake registry."""

    username: str = "alice"
    password: str = "secret-password"
    identity_token: str = ""


def reach(
    fake: FakeRegistry | str, login: Login | None = None, clock: Clock | None = None, **changes: Any
) -> Transport:
    """Return a transport to the fake registry, or to a host."""
    host = fake if isinstance(fake, str) else fake.host
    changes.setdefault("pace", (clock or Clock()).pace())
    changes.setdefault("timeout", 30.0)
    # Those of whoever runs the tests are none of theirs.
    changes.setdefault("find", lambda _host, _repository: None)
    return Transport(host, Access(credentials=login, **changes))
