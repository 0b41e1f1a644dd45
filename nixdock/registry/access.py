"""How registries are reached, and as whom."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """The choices of a caller; the others come from the environment.

    With `insecure`, any certificate is accepted, and plain HTTP where there is no HTTPS. `attempts`
    is how often a request is tried, and `timeout` how many seconds a connection may be silent.
    """

    insecure: bool = False
    attempts: int = 5
    timeout: float = 60.0
