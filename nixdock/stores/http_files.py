"""The files of a binary cache that is reached over HTTP."""

from __future__ import annotations

import base64
import io
import logging
import netrc
import re
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import CacheError, InputError
from nixdock.network.addresses import is_local_name
from nixdock.network.following import Outgoing, check_target, follow
from nixdock.network.redirects import Origin, UnsafeTargetError
from nixdock.network.resumed import ResumedReader
from nixdock.network.retrying import TRANSIENT, Patience, Setback, persist, retry_after
from nixdock.nix.store_path import StorePath
from nixdock.stores.cache_files import MOST_AT_ONCE, cache_error
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock.network.answers import Response
    from nixdock.network.connections import Connections
    from nixdock.network.subject import Settings

__all__ = ["HttpFiles"]

log = logging.getLogger(__name__)

# In seconds. Where answers took twice as long, to pack more layers at once began to save time.
_NEAR: Final = 0.002
# What is behind the URL of the cache as it stands; to join it in the general way takes longer.
_PLAIN_NAME: Final = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)
# Some caches, such as those in S3, answer so if there is no such file.
_ABSENT: Final = frozenset({403, 404, 410})
_CODINGS: Final = {
    "br": Coding.BROTLI,
    "bzip2": Coding.BZIP2,
    "gzip": Coding.GZIP,
    "xz": Coding.XZ,
    "zstd": Coding.ZSTD,
}


class _File(Struct, frozen=True):
    """What a request is about: a file of a cache, perhaps about a store path."""

    url: str
    name: str
    path: StorePath | None
    server: str = "the cache"

    def error(
        self, message: str, *, status: int | None = None, is_broken: bool = False
    ) -> CacheError:
        fields = {} if status is None else {"status": status}
        return cache_error(
            self.url, self.path, f"{shown(self.name)}: {message}", is_broken=is_broken, **fields
        )


class HttpFiles:
    """The files of the cache `url`; several threads, and child processes, may read them.

    A password in `netrc_file` is sent to the cache's own host alone, and not by plain HTTP.
    """

    def __init__(self, url: str, settings: Settings, netrc_file: Path) -> None:
        self._url = url
        self._settings = settings
        self._netrc_file = netrc_file
        self._home = Origin.of(url)
        self._made: dict[str, Connections] = {}

    @property
    def _connections(self) -> Connections:
        # Of those that several threads make at once, all take the first (see Transport).
        return self._made.get("") or self._made.setdefault("", self._new_connections())

    def _new_connections(self) -> Connections:
        # urllib3 is slow to import, and not needed before the first request.
        from nixdock.network.connections import Connections  # noqa: PLC0415

        about = _File(self._url, "the connection", None)
        return Connections(self._home.host, self._settings, about.error, most_kept=MOST_AT_ONCE)

    @property
    def is_authentic(self) -> bool:
        """Whether the files surely come from the cache: over HTTPS, or from this machine."""
        if is_local_name(self._home.host):
            return True
        return self._home.scheme == "https" and not self._settings.insecure

    @property
    def is_near(self) -> bool:
        """Whether an answer has come so soon that waiting for others costs next to nothing."""
        connections = self._made.get("")
        return connections is not None and connections.quickest < _NEAR

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return self._connections.answered

    def read(self, name: str, most: int, path: StorePath | None = None) -> bytes | None:
        """Return a whole file, or None if there is none; more than `most` bytes are an error."""
        file = _File(self._url, name, path)
        patience = self._patience()
        while True:
            try:
                found = self._read(file, most, patience)
                break
            except CacheError as error:
                if not (error.is_broken and patience.lasts(error.after)):
                    raise
        if found is None:
            return None
        data, coding = found
        if coding is Coding.NONE:
            return data
        stream = DecompressedReader(io.BytesIO(data), coding, most=most, failure=file.error)  # type: ignore[arg-type]
        return stream.readall()

    def _read(self, file: _File, most: int, patience: Patience) -> tuple[bytes, Coding] | None:
        with self.send(file, patience=patience) as response:
            if response.status in _ABSENT:
                return None
            return response.whole(most), _coding_of(response, file)

    def open(self, name: str, path: StorePath) -> io.RawIOBase:
        """Open a file; that there is none is an error."""
        file = _File(self._url, name, path)
        response = self.send(file)
        if response.status in _ABSENT:
            with response:
                raise file.error(
                    f"the cache answers {response.status}, although it has a narinfo of the path",
                    status=response.status,
                )
        body = ResumedReader(
            partial(self._rest, file),
            self._patience,
            lambda at: file.error(f"the cache does not send the bytes from {at} on"),
            response=response,
        )
        coding = _coding_of(response, file)
        return (
            body if coding is Coding.NONE else DecompressedReader(body, coding, failure=file.error)
        )

    def send(self, file: _File, start: int = 0, *, patience: Patience | None = None) -> Response:
        """Ask for a file, perhaps from the byte `start` on, and return the answer."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        patience = patience or self._patience()
        try:
            return persist(lambda: self._attempt(file, headers), patience, retry=True)
        except CacheError as error:
            # It has been tried as often as it may be.
            error.is_broken = False
            raise

    def _rest(self, file: _File, start: int, patience: Patience) -> Response:
        response = self.send(file, start, patience=patience)
        if response.status in {200, 206, 416}:
            return response
        with response:
            raise file.error(f"the cache answers {response.status}, not with the rest of the file")

    def _patience(self) -> Patience:
        return Patience(self._settings.pace, self._settings.attempts)

    def _attempt(self, file: _File, headers: Mapping[str, str]) -> Response:
        try:
            url = f"{self._url}/{file.name}"
            if not _PLAIN_NAME.fullmatch(file.name):
                url = urljoin(f"{self._url}/", file.name)
            origin = Origin.of(url)
            header = None
            if origin == self._home:
                header = self._authorization
            else:
                check_target(self._connections, self._home, origin)
            outgoing = Outgoing("GET", url, headers, None, file)
            response = follow(self._connections, outgoing, self._home, header)
        except (UnsafeTargetError, ValueError) as error:
            raise file.error(f"the cache's word is not followed: {error}") from None
        except Setback as setback:
            # No answer came.
            if isinstance(setback.error, CacheError):
                setback.error.is_unreachable = True
            raise
        if response.status in {200, *_ABSENT} or (headers and response.status in {206, 416}):
            return response
        with response:
            raise self._refusal(response, file)

    def _refusal(self, response: Response, file: _File) -> Setback:
        status = response.status
        message = f"the cache answers {status}"
        answering = Origin.of(response.url)
        if answering != self._home:
            message = f"{shown(answering.place)}, to which the cache leads, answers {status}"
        elif status == 401:
            has_password = self._authorization is not None
            message += (
                f"; it refuses the password in {self._netrc_file}"
                if has_password
                else f"; it wants a password: put one into {self._netrc_file}"
            )
        passing = status in TRANSIENT
        after = retry_after(response.headers.get("Retry-After"), self._settings.pace.now())
        error = file.error(message, status=status, is_broken=passing)
        error.is_unreachable = passing
        return Setback(error, passing=passing, after=after)

    @cached_property
    def _authorization(self) -> str | None:
        try:
            hosts = netrc.netrc(str(self._netrc_file)).hosts
        except (FileNotFoundError, PermissionError):
            return None
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
            # What the parser says has a part of the line in it, which may be a password.
            line = f" in line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
            message = f"{self._netrc_file} is not a valid netrc file{line}"
            raise InputError(message, path=self._netrc_file) from None
        # As in a URL, upper and lower case are the same.
        named = (entry for name, entry in hosts.items() if name.lower() == self._home.host)
        found = next(named, hosts.get("default"))
        if found is None:
            return None
        if self._home.scheme == "http" and not is_local_name(self._home.host):
            log.warning(
                "the password for %s in %s is not sent, because the cache has plain HTTP",
                self._home.host,
                self._netrc_file,
            )
            return None
        username, _, password = found
        return "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode()


def _coding_of(response: Response, file: _File) -> Coding:
    name = response.headers.get("Content-Encoding", "").strip().lower()
    if name in {"", "identity"}:
        return Coding.NONE
    coding = _CODINGS.get(name)
    if coding is None:
        response.close()
        raise file.error(f"it has the Content-Encoding {shown(name)}, which nixdock does not know")
    return coding
