"""A binary cache on loopback that serves a directory, and can be told to misbehave."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.unit.registry.fake_answers import Answer, Received
from tests.unit.registry.fake_registry import FakeRegistry
from tests.unit.registry.fake_server import Server

__all__ = ["FakeCache", "fake_cache"]


@dataclass
class FakeCache(FakeRegistry):
    """The files below `directory`; each answer comes after `delay` seconds.

    Its log and its faults are those of the fake registry.
    """

    directory: Path = Path()
    delay: float = 0.0
    password: str = ""
    # The Content-Encoding of all files, and what makes it.
    encoding: str = ""
    encode: Callable[[bytes], bytes] = bytes

    @property
    def names(self) -> list[str]:
        """The names of the files that were asked for, in the order of the requests."""
        return [each.path.removeprefix("/") for each in self.requests()]

    def answer(self, received: Received) -> Answer:
        """Answer with a file, or a part of it."""
        time.sleep(self.delay)
        if self.password and received.headers.get("Authorization") != self.password:
            return Answer(401, {"WWW-Authenticate": "Basic"})
        # A proxy is asked for whole URLs.
        file = self.directory / re.sub("^(http://[^/]*)?/", "", received.path)
        if not file.is_file():
            return Answer(404, body=b"no such file")
        data = self.encode(file.read_bytes())
        encoded = {"Content-Encoding": self.encoding} if self.encoding else {}
        part = re.fullmatch("bytes=([0-9]+)-", received.headers.get("Range", ""))
        if part is None or self.ignores_range:
            return Answer(200, encoded, data)
        start = int(part[1])
        content_range = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, {"Content-Range": content_range, **encoded}, data[start:])


@contextmanager
def fake_cache(
    directory: Path, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[FakeCache]:
    """Serve a directory on a port that the kernel picks."""
    cache = FakeCache(scheme="https" if tls else "http", directory=directory)
    with Server.start(cache, "registry", address, tls) as server:
        cache.host = server.host
        try:
            yield cache
        finally:
            cache.closing.set()
