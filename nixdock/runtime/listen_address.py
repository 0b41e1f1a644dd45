"""Where a server listens: at a host and a port, or at a unix socket."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError

__all__ = ["LOOPBACK", "Address", "ListenAddress", "UnixAddress", "listener", "parse_address"]

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", re.ASCII)
_UNIX: Final = "unix:"
_BACKLOG: Final = 128


class ListenAddress(Struct, frozen=True):
    """A host, without the brackets of an IPv6 address, and a port, which is 0 for a free one."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(Struct, frozen=True):
    """The path of a unix socket, which only this machine can reach."""

    path: Path
    is_local = True

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


Address = ListenAddress | UnixAddress
"""What a server can listen at."""

LOOPBACK: Final = ListenAddress("127.0.0.1", 0)
"""A free port that only this machine can reach."""


def parse_address(text: str) -> Address:
    """Parse HOST:PORT or unix:PATH; raise InputError if it is something else."""
    if text.startswith(_UNIX) and len(text) > len(_UNIX):
        return UnixAddress(Path(text.removeprefix(_UNIX)))
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise InputError(
            f"{text!r} is not an address: expected HOST:PORT, as 127.0.0.1:5000, or unix:PATH"
        )
    return ListenAddress(match[1].strip("[]"), int(match[2]))


@contextmanager
def listener(address: Address) -> Iterator[tuple[socket.socket, Address]]:
    """Yield a socket that listens at `address`, and the address with the port that was chosen.

    The socket is closed, and the file of a unix socket removed, when the block ends. Raise
    InputError if the address can't be used.
    """
    try:
        match address:
            case ListenAddress():
                family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
                place = (address.host, address.port)
                made = socket.create_server(place, family=family, backlog=_BACKLOG)
            case UnixAddress():
                made = _unix_socket(address.path)
    except OSError as error:
        # Python repeats the address, as a tuple.
        reason = str(error.strerror or error).partition(" (while ")[0]
        raise InputError(f"can't listen on {address}: {reason}") from None
    with made:
        match address:
            case ListenAddress():
                yield made, ListenAddress(address.host, made.getsockname()[1])
            case UnixAddress():
                own = address.path.stat()
                try:
                    yield made, address
                finally:
                    with suppress(OSError):
                        if os.path.samestat(own, address.path.lstat()):
                            address.path.unlink()


def _unix_socket(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_unused(path)
        made.bind(os.fspath(path))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _remove_unused(path: Path) -> None:
    """Remove the socket of a server that was killed, to which nobody listens."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
