"""What is asked of a registry."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Body", "Request", "Scope"]

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request needs to be allowed to do: pull from `repository`, and push if `push` is set.

    `mount_from` is another repository of the registry, to be pulled from as well. Without a
    repository, the request needs nothing but an account.
    """

    repository: str = ""
    push: bool = False
    mount_from: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request sends: `size` bytes, which `open` opens anew for each attempt."""

    size: int
    open: Callable[[], io.RawIOBase | io.BufferedIOBase]

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Return the body with these bytes."""
        return cls(len(data), lambda: io.BytesIO(data))

    def rest(self, start: int) -> Body:
        """Return the bytes from `start` on."""

        def open_rest() -> io.RawIOBase | io.BufferedIOBase:
            stream = self.open()
            if stream.seekable():
                stream.seek(start)
            else:
                skipped = 0
                while skipped < start and (more := stream.read(min(_CHUNK, start - skipped))):
                    skipped += len(more)
            return stream

        return Body(self.size - start, open_rest)


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `target` is a path below the registry's root, or a URL that it has given.

    The status of the answer must be one of `expected`. `subject` says what is asked for, for error
    messages, such as "the blob sha256:…". Unless `retry` is False, the request is sent again if
    that may help; otherwise only if the registry has not begun with it, and an error is `is_broken`
    if the sender may find out what has arrived and go on.
    """

    method: str
    target: str
    scope: Scope = field(default_factory=Scope)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    expected: Collection[int] = (200,)
    subject: str = ""
    retry: bool = True
