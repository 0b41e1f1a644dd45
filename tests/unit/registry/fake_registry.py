"""A registry on loopback, with its content in memory, which can be told to misbehave."""

from __future__ import annotations

import hashlib
import itertools
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import orjson

from .fake_accounts import Accounts
from .fake_answers import Answer, Received
from .fake_server import Server

__all__ = ["FakeRegistry", "Fault", "Logged", "Stored", "digest_of", "fake_registry"]


@dataclass
class Fault:
    """What goes wrong with requests that match, after the first `skip` and then `times` times.

    With a `status`, this is the answer, given after the body of the request was read, or `early`,
    without reading it. With `cut`, the connection breaks after so many bytes of the body, which is
    that of the request for PUT, PATCH and POST and else that of the answer. With `stall`, the
    server instead falls silent there until the test ends.
    """

    method: str = ".*"
    path: str = ""
    times: int = 1
    skip: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    early: bool = False
    cut: int | None = None
    stall: bool = False

    def matches(self, method: str, path: str) -> bool:
        """Whether this request is met by the fault; count it."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, path)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass(frozen=True)
class Logged:
    """A request that arrived; `received` counts the bytes of its body that were read.

    The names of headers are written as in Content-Type.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    received: int
    server: str
    connection: int

    @property
    def route(self) -> str:
        """The method and the path, without the query."""
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Stored:
    """A manifest."""

    media_type: str
    data: bytes


@dataclass
class FakeRegistry:
    """The content of a registry, its log, and its switches, which may be changed at any time.

    A second server, at `storage`, has the same content, and refuses requests with an Authorization
    header, as object stores do that have a signature in their URLs.
    """

    # Where uploads go: "query" has a state that changes with every byte that comes, and "storage"
    # is the second server.
    location: Literal["relative", "absolute", "query", "storage"] = "relative"
    redirect_blobs: bool = False
    redirect_uploads: bool = False
    ignores_range: bool = False
    chunk_min: int = 0
    refuses_chunks: bool = False
    refuses_mounts: bool = False
    # Whether an upload that was cut keeps the bytes that came.
    keeps_partial: bool = True
    referrers: bool = False
    filters_referrers: bool = True
    page: int = 0
    most_manifest: int = 4 << 20
    warning: str = ""
    # What is sent in place of the blob with a digest.
    tampered: dict[str, bytes] = field(default_factory=dict)
    # What Docker-Content-Digest says of manifests, if not the truth.
    false_digest: str = ""
    faults: list[Fault] = field(default_factory=list)
    accounts: Accounts = field(default_factory=Accounts)

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, Stored]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    log: list[Logged] = field(default_factory=list)

    host: str = ""
    storage: str = ""
    scheme: str = "http"
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    # Set at the end, so that stalled requests end too.
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where its HTTP interface begins."""
        return f"{self.scheme}://{self.host}"

    def add_blob(self, repository: str, data: bytes) -> str:
        """Store a blob and return its digest."""
        digest = digest_of(data)
        self.blobs.setdefault(repository, {})[digest] = data
        return digest

    def add_manifest(self, repository: str, document: Mapping[str, object], tag: str = "") -> str:
        """Store a manifest, also as `tag` if it is given, and return its digest."""
        data = orjson.dumps(document)
        digest = digest_of(data)
        stored = Stored(str(document.get("mediaType")), data)
        self.manifests.setdefault(repository, {})[digest] = stored
        if tag:
            self.tags.setdefault(repository, {})[tag] = digest
        return digest

    def manifest(self, repository: str, reference: str) -> Stored | None:
        """Return the manifest with a tag or digest."""
        digest = self.tags.get(repository, {}).get(reference, reference)
        return self.manifests.get(repository, {}).get(digest)

    def routes(self, method: str = ".*", path: str = "") -> list[str]:
        """Return the method and path of each request that matches, oldest first."""
        return [each.route for each in self.requests(method, path)]

    def requests(self, method: str = ".*", path: str = "") -> list[Logged]:
        """Return the requests that match, oldest first."""
        with self.lock:
            return [
                each
                for each in self.log
                if re.fullmatch(method, each.method) and re.search(path, each.path)
            ]

    def answer(self, received: Received) -> Answer:
        """Answer a request as the distribution-spec says."""
        from .fake_answers import answer

        with self.lock:
            return answer(self, received)

    def keep_partial(self, method: str, path: str, data: bytes, server: str) -> None:
        """Keep what came of an upload before it was cut."""
        session = path.partition("?")[0].rpartition("/")[2]
        passed_on = self.redirect_uploads and server == "registry"
        with self.lock:
            kept = self.keeps_partial and not passed_on and method in {"PUT", "PATCH"}
            if kept and data and session in self.uploads:
                self.uploads[session] += data
                if session in self.states:
                    self.states[session] = f"state-{next(self.numbers)}"

    def fault(self, method: str, path: str) -> Fault | None:
        """Return the fault that meets a request, if there is one."""
        with self.lock:
            return next((each for each in self.faults if each.matches(method, path)), None)


def digest_of(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def fake_registry(
    address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[FakeRegistry]:
    """Start an empty registry and its storage server on ports that the kernel picks."""
    registry = FakeRegistry(scheme="https" if tls else "http")
    with Server.start(registry, "registry", address, tls) as front:
        registry.host = front.host
        with Server.start(registry, "storage", address, tls) as back:
            registry.storage = back.host
            try:
                yield registry
            finally:
                registry.closing.set()
