"""A real registry on a loopback port."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import trustme

from .command import Daemon, require_tool, wait_until
from .engine import environment_without
from .token_server import TokenServer
from .workspace import workspace

USERNAME, PASSWORD = "alice", "secret-password"
# What `htpasswd -B` makes of the password.
_BCRYPT = "$2b$04$3ro/mqGBcrQkN4trvlOsjOvOg2xonBYCzl8jaZvCrLCMdrX0GVYB2"

_FIELD = re.compile(r'http\.(\S+?)=("[^"]*"|\S+)')


@dataclass(frozen=True)
class Registry:
    """A registry that allows deletion."""

    address: str
    log: Path
    storage: Path
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where its HTTP interface begins."""
        return f"{self.scheme}://{self.address}"

    def reference(self, repository: str, tag: str = "latest") -> str:
        """What clients call an image in it; a tag may also be a digest."""
        return f"{self.address}/{repository}{'@' if ':' in tag else ':'}{tag}"

    def requests(self, repository: str = "") -> list[str]:
        """The log's lines on finished requests, oldest first, for one repository or all."""
        lines = self.log.read_text(errors="backslashreplace").splitlines()
        return [line for line in lines if "response completed" in line and repository in line]

    def downloads(self, repository: str) -> list[tuple[str, int]]:
        """What was fetched from a repository, oldest first: a tag or digest, and its bytes."""
        self._wait_for_log()
        found = []
        for line in self.requests(repository):
            fields = {key: value.strip('"') for key, value in _FIELD.findall(line)}
            is_content = re.search(r"/(?:blobs|manifests)/", fields["request.uri"])
            if is_content and fields["request.method"] == "GET":
                name = fields["request.uri"].rpartition("/")[2]
                found.append((name, int(fields["response.written"])))
        return found

    def _wait_for_log(self) -> None:
        """Request a missing repository: once the log shows it, the log is complete."""
        mark = f"none-{uuid.uuid4().hex}"
        with suppress(HTTPError):
            urlopen(f"{self.url}/v2/{mark}/tags/list").close()
        wait_until(lambda: bool(self.requests(mark)), what="the registry's log")


@contextmanager
def local_registry(
    *,
    passwords: bool = False,
    tokens: TokenServer | None = None,
    authority: trustme.CA | None = None,
) -> Iterator[Registry]:
    """Start a registry on a port that the kernel picks.

    With `passwords`, it wants USERNAME and PASSWORD; with `tokens`, tokens of that server. With an
    `authority`, it has HTTPS with a certificate of it.
    """
    program = require_tool("docker-registry")
    with workspace() as space:
        storage, log = space.directory("storage"), space.root / "registry.log"
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": "127.0.0.1:0"},
        }
        if passwords:
            file = space.file("htpasswd", f"{USERNAME}:{_BCRYPT}\n")
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(file)}}
        if tokens is not None:
            settings["auth"] = {"token": tokens.settings}
        if authority is not None:
            issued = authority.issue_cert("127.0.0.1", "localhost")
            certificate, key = space.root / "registry.pem", space.root / "registry.key"
            issued.private_key_pem.write_to_path(key)
            certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
            settings["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        # JSON is YAML, too.
        config = space.file("config.yml", json.dumps(settings))
        daemon = Daemon.start(
            [program, "serve", config],
            log,
            env=environment_without("REGISTRY_", "OTEL_"),
            ready=lambda: _address(log) is not None,
        )
        try:
            address = _address(log)
            assert address is not None
            yield Registry(address, log, storage, "https" if authority else "http")
        finally:
            daemon.stop()


def _address(log: Path) -> str | None:
    found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
    return found[1] if found else None
