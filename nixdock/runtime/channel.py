"""Connections of the server: what waitress would wait for, although nothing will come."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from waitress.channel import HTTPChannel

__all__ = ["PATIENCE", "Channel"]

PATIENCE: Final = 60
"""How long a client may be silent, read nothing, or take to send a request, in seconds."""

_TLS_HANDSHAKE: Final = 0x16
# Clients fall back to plain HTTP if this is the answer to HTTPS: it is that of Go's servers.
_IS_HTTP: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n"
)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that ends at once if the client speaks TLS, and soon if it is too slow.

    Docker and Podman try HTTPS first, and would wait for an answer for ten seconds.
    """

    _began: float | None = None

    def received(self, data: bytes) -> bool:
        """Take what the client sends."""
        if self.request is None and data and data[0] == _TLS_HANDSHAKE:
            with suppress(OSError):
                self.send(_IS_HTTP, do_close=False)
            self.handle_close()
            return False
        now = time.monotonic()
        if self._began is not None and now - self._began > PATIENCE:
            self.handle_close()
            return False
        complete: bool = super().received(data)
        if self.request is None:
            self._began = None
        elif self._began is None:
            self._began = now
        return complete
