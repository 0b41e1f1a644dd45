"""Requests to a registry, and its answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from nixdock.errors import RegistryError
from nixdock.oci.registry_reference import DOCKER_HUB
from nixdock.registry.access import Access
from nixdock.registry.request import Request

if TYPE_CHECKING:
    import urllib3

__all__ = ["MOST_ERROR", "Response", "Transport"]

MOST_ERROR: Final = 1 << 20
"""The largest number of bytes that are read of an answer that reports an error."""


class Response:
    """An answer whose body has not been read; use it as a context manager."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if the body was read, else close it."""
        self._raw.close()
        self._raw.release_conn()

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes of the body; return 0 at its end."""
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def whole(self, most: int) -> bytes:
        """Return the whole body; raise RegistryError if it has more than `most` bytes."""
        data = self._raw.read(most + 1)
        if len(data) > most:
            raise RegistryError(f"{self.url} has more than {most} bytes", place=self.url)
        return data


class Transport:
    """A registry and its connections; several threads may use it at once."""

    def __init__(self, host: str, access: Access | None = None) -> None:
        self.host = host
        self.access = access or Access()
        self.request_count = 0

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415 (slow, and not needed before the first request)

        return urllib3.PoolManager(maxsize=8, block=False)

    def send(self, request: Request) -> Response:
        """Send a request and return the answer; its status is an expected one.

        Raise RegistryError if the registry can't be reached or answers with another status.
        """
        target, body = request.target, request.body
        url = target if "://" in target else f"{self._root}{target}"
        stream = None if body is None else body.open()
        self.request_count += 1
        length = {} if body is None else {"Content-Length": str(body.size)}
        try:
            raw = self._pool.request(
                request.method,
                url,
                body=stream,
                headers={**request.headers, **length},
                preload_content=False,
                redirect=True,
                retries=False,
                timeout=self.access.timeout,
            )
        finally:
            if stream is not None:
                stream.close()
        response = Response(raw, url)
        if raw.status not in request.expected:
            with response:
                raise self._refusal(request, response)
        return response

    @property
    def attempts(self) -> int:
        """How often something is tried before it is given up."""
        return self.access.attempts

    def wait(self, attempt: int) -> None:
        """Wait before the attempt after `attempt`, the longer the more there were."""
        time.sleep(min(60.0, 2.0**attempt))

    @property
    def _root(self) -> str:
        host = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
        plain = host.startswith(("127.", "localhost"))
        return f"{'http' if plain else 'https'}://{host}"

    def _refusal(self, request: Request, response: Response) -> RegistryError:
        code, message = _reported(response.whole(MOST_ERROR))
        place = "/".join(filter(None, (self.host, request.scope.repository)))
        subject = request.subject or response.url
        return RegistryError(
            f"{place}: {subject}: the registry answers {response.status} {code or ''} {message}",
            place=place,
            status=response.status,
            code=code,
        )


def _reported(data: bytes) -> tuple[str | None, str]:
    """Return the code and message of the first error that an answer reports."""
    try:
        errors: Iterable[Any] = orjson.loads(data)["errors"]
        first = next(iter(errors))
        return str(first["code"]), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, StopIteration):
        return None, ""
