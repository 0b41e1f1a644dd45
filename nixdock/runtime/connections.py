"""How many connections a server may have open, by the descriptors that its process may have."""

from __future__ import annotations

import os
import resource
from typing import Final

__all__ = ["MOST_CONNECTIONS", "channels_before_room", "most_connections"]

MOST_CONNECTIONS: Final = 400
"""How many a server has open, however many descriptors there are."""

# For the files of layers that are being packed, and of what is asked for meanwhile.
_OTHER_DESCRIPTORS: Final = 128
_FEWEST: Final = 8


def most_connections(descriptors: int) -> int:
    """Return how many connections may be open, if each takes so many descriptors.

    With more, there would be none for the files that are served.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    free = limit - len(os.listdir("/dev/fd")) - _OTHER_DESCRIPTORS
    return min(MOST_CONNECTIONS, max(_FEWEST, free // descriptors))


def channels_before_room(connections: int) -> int:
    """Return at how many connections one that asks for nothing makes room for a new one."""
    return connections - max(1, connections // 25)
