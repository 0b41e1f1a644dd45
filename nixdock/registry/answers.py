"""Answers of a registry, as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from nixdock.registry.failures import Subject

if TYPE_CHECKING:
    import urllib3

__all__ = ["Response"]

_DRAINED: Final = 1 << 16
_LARGEST_READ: Final = 1 << 20


class Response:
    """An answer whose body has not been read; use it as a context manager.

    `url` is what answered, after redirects, for locations that are relative to it.
    """

    def __init__(
        self,
        raw: urllib3.BaseHTTPResponse,
        url: str,
        subject: Subject,
        broken: Callable[[Exception], Exception],
    ) -> None:
        self._raw = raw
        self._subject = subject
        self._broken = broken
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
        """Give the connection back if the body was read or is nearly empty, else close it."""
        raw = self._raw
        left = getattr(raw, "length_remaining", None)
        if not raw.closed and left is not None and left <= _DRAINED:
            # Nobody waits for these bytes: errors do not matter.
            with suppress(Exception):
                while raw.read(_DRAINED, decode_content=False):
                    pass
        # Nothing happens to a connection that urllib3 has taken back at the end of the body.
        raw.close()
        raw.release_conn()

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes of the body; return 0 at its end.

        Raise RegistryError with `is_broken` if the connection breaks, or is silent for too long.
        """
        view = memoryview(buffer).cast("B")
        try:
            data = self._raw.read(min(len(view), _LARGEST_READ), decode_content=False)
        except Exception as error:
            raise self._broken(error) from None
        view[: len(data)] = data
        return len(data)

    def whole(self, most: int) -> bytes:
        """Return the whole body; raise RegistryError if it has more than `most` bytes."""
        data = self.start(most + 1)
        if len(data) > most:
            raise self._subject.error(f"the registry's answer has more than {most} bytes")
        return data

    def start(self, most: int) -> bytes:
        """Return the first bytes of the body."""
        data = bytearray()
        buffer = memoryview(bytearray(min(most, 1 << 16)))
        while len(data) < most and (count := self.readinto(buffer[: most - len(data)])):
            data += buffer[:count]
        return bytes(data)
