"""Answers that come before a request was sent to its end, over TLS, too."""

from __future__ import annotations

import ssl
from typing import Any, Final

from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["POOLS"]

# What OpenSSL says where the system says EPIPE: the other side has closed the connection.
_CLOSED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionAbortedError)


class _Connection(HTTPSConnection):
    """A connection of which the answer is read although its server reads no more.

    A server that refuses an upload answers, and closes the connection, before all has come.
    """

    def send(self, data: Any) -> None:
        is_open = self.sock is not None
        try:
            super().send(data)
        except _CLOSED as error:
            if not is_open:
                # The handshake has failed.
                raise
            # For this error, urllib3 looks whether an answer has come before.
            raise BrokenPipeError from error


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


POOLS: Final = {"http": HTTPConnectionPool, "https": _Pool}
"""The classes of connections by their scheme, for urllib3; without TLS, its own will do."""
