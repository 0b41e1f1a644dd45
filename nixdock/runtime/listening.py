"""Where a registry listens, and who may read from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.runtime.listen_address import LOOPBACK, Address, parse_address
from nixdock.runtime.passwords import Passwords, read_htpasswd

if TYPE_CHECKING:
    import ssl

__all__ = ["Listening"]

_File = str | os.PathLike[str]


class Listening(Struct, frozen=True):
    """Where to listen, HOST:PORT or unix:PATH; the port 0 means a free one.

    With the files of a certificate and its key, in PEM, clients must use HTTPS. `htpasswd` is a
    file with users and the bcrypt hashes of their passwords, who alone can read the images then.
    """

    address: str = str(LOOPBACK)
    tls_cert: _File | None = None
    tls_key: _File | None = None
    htpasswd: _File | None = None

    def parsed(self) -> Address:
        """Return the address; raise InputError if it is malformed."""
        return parse_address(self.address)

    def context(self) -> ssl.SSLContext | None:
        """Return the settings of TLS, or None for plain HTTP.

        Raise InputError if a file can't be used.
        """
        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise InputError("a certificate and its key belong together; give the files of both")
        from nixdock.runtime.tls_front import server_context  # noqa: PLC0415 (loads asyncio)

        return server_context(Path(self.tls_cert), Path(self.tls_key))

    def passwords(self) -> Passwords | None:
        """Return the users, or None for everybody; raise InputError if the file can't be used."""
        return None if self.htpasswd is None else read_htpasswd(Path(self.htpasswd))
