"""The daemon of Docker on this machine, by its socket: faster than a program for each question."""

from __future__ import annotations

import http.client
import os
import pwd
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.docker_daemon import CONTAINERD_STORE, NONE, ListedImage
from nixdock.system.buffers import Write

__all__ = ["DaemonBySocket", "local_socket"]

_SCHEME: Final = "unix://"
_DEFAULT: Final = "unix:///var/run/docker.sock"


def local_socket(environment: Mapping[str, str]) -> Path | None:
    """Return the socket that Docker's program would use, or None if it would use another way."""
    host = environment.get("DOCKER_HOST") or _host_of_context(environment) or _DEFAULT
    return Path(host.removeprefix(_SCHEME)) if host.startswith(_SCHEME) else None


def _host_of_context(environment: Mapping[str, str]) -> str | None:
    directory = Path(environment.get("DOCKER_CONFIG") or _home(environment) / ".docker")
    name = environment.get("DOCKER_CONTEXT")
    with suppress(OSError, ValueError, AttributeError):
        name = name or orjson.loads((directory / "config.json").read_bytes()).get("currentContext")
    if not isinstance(name, str) or name in {"", "default"}:
        return None
    file = directory / "contexts/meta" / sha256(os.fsencode(name)).hexdigest() / "meta.json"
    try:
        return str(orjson.loads(file.read_bytes())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        # Docker's program says what is wrong.
        return name


def _home(environment: Mapping[str, str]) -> Path:
    """Return the user's directory, where Docker's program looks for it.

    There may be none, but never is it what happens to be the current directory.
    """
    if home := environment.get("HOME"):
        return Path(home)
    with suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path("/nonexistent")


class DaemonBySocket:
    """The daemon behind a socket (Docker Engine API); each request has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def version(self, timeout: float) -> Mapping[str, Any]:
        """Return what the daemon is; raise ToolError if it does not answer within some seconds."""
        found: Mapping[str, Any] = self._asked("/version", dict, timeout)
        return found

    def images(self) -> Sequence[ListedImage]:
        """Return all images."""
        path = "/images/json?all=true"
        with self._understood(path):
            return [
                ListedImage(
                    each["Id"],
                    frozenset(name for name in each.get("RepoTags") or [] if NONE not in name),
                    frozenset(name.rpartition("@")[2] for name in each.get("RepoDigests") or []),
                )
                for each in self._asked(path, list)
            ]

    def chains(self, identities: Sequence[str]) -> Iterator[list[str]]:
        """Give the layers of images."""
        for identity in identities:
            with suppress(ToolError):
                yield self.image(identity)[1]

    def image(self, name: str) -> tuple[str, list[str]]:
        """Return the ID and the layers of an image."""
        path = f"/images/{quote(name)}/json"
        with self._understood(path):
            found = self._asked(path, dict)
            return found["Id"], found["RootFS"].get("Layers") or []

    def is_in_containerd(self) -> bool:
        """Tell whether it keeps images in containerd."""
        # Not every version and storage driver has something to say there.
        return CONTAINERD_STORE in str(self._asked("/info", dict).get("DriverStatus"))

    def tag(self, identity: str, name: Reference) -> None:
        """Give an image another name."""
        repository, _, tag = str(name).rpartition(":")
        query = urlencode({"repo": repository, "tag": tag})
        self._ask("POST", f"/images/{quote(identity)}/tag?{query}")

    def load(self, write_stream: Callable[[Write], object]) -> None:
        """Take the images in an archive; if it is interrupted, the daemon drops what it has."""
        with closing(_UnixConnection(self._path)) as connection:
            with self._heard():
                connection.putrequest("POST", "/images/load?quiet=1")
                connection.putheader("Content-Type", "application/x-tar")
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders()
            # A daemon that has found an error reads no more, and says so.
            with suppress(_GoneError):
                write_stream(partial(_send_chunk, connection))
                _send(connection, b"0\r\n\r\n")
            with self._heard():
                answer = self._answer(connection, "load")
        with self._understood("/images/load"):
            errors = [orjson.loads(line).get("error") for line in answer.splitlines()]
        for error in errors:
            if error is not None:
                raise ToolError(f"docker load failed: {error}", path=str(self._path))

    def _asked(self, path: str, kind: type, timeout: float | None = None) -> Any:
        """Return the document that the daemon has at `path`, an object or array as `kind` says."""
        data = self._ask("GET", path, timeout)
        with self._understood(path):
            document = orjson.loads(data)
            if not isinstance(document, kind):
                raise TypeError
            return document

    @contextmanager
    def _understood(self, path: str) -> Iterator[None]:
        """Raise ToolError if an answer has not the form that it should have."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ToolError(
                f"what answers at {self._path} is not a Docker daemon: its answer to {path} has"
                " another form",
                path=str(self._path),
            ) from None

    def _ask(self, method: str, path: str, timeout: float | None = None) -> bytes:
        with self._heard(), closing(_UnixConnection(self._path, timeout)) as connection:
            connection.request(method, path)
            return self._answer(connection, path.partition("?")[0])

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Raise ToolError if the daemon can't be reached, or goes away."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ToolError(
                f"the Docker daemon at {self._path} does not answer: {reason or error}",
                path=str(self._path),
            ) from None

    def _answer(self, connection: _UnixConnection, what: str) -> bytes:
        with connection.getresponse() as answer:
            data = answer.read()
        if answer.status >= 300:
            text = data.decode("utf-8", "replace").strip()
            with suppress(ValueError, KeyError, TypeError):
                text = str(orjson.loads(data)["message"])
            raise ToolError(f"docker {what} failed: {text}", path=str(self._path))
        return data


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None = None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class _GoneError(Exception):
    """The daemon takes no more."""


def _send_chunk(connection: _UnixConnection, data: memoryview | bytes) -> None:
    if size := memoryview(data).nbytes:
        _send(connection, b"%x\r\n" % size)
        _send(connection, data)
        _send(connection, b"\r\n")


def _send(connection: _UnixConnection, data: memoryview | bytes) -> None:
    try:
        connection.send(data)
    except OSError:
        raise _GoneError from None
