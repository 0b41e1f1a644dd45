"""Asking a registry again for what was not what its digest says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from nixdock.errors import ImageError
from nixdock.registry.transport import Transport

__all__ = ["asked_again"]

_MOST_TIMES: Final = 3

_Result = TypeVar("_Result")


def asked_again(transport: Transport, ask: Callable[[], _Result]) -> _Result:
    """Return what `ask` returns; while it raises ImageError, call it again, a few times in all.

    A cache before the registry may send wrong bytes once, and the right ones when it is asked next.
    """
    times = min(_MOST_TIMES, transport.attempts)
    for attempt in range(1, times):
        try:
            return ask()
        except ImageError:
            transport.wait(attempt)
    return ask()
