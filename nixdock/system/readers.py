"""Base classes of read-only streams."""

from __future__ import annotations

import io

__all__ = ["ForwardReader", "ReadOnlyStream"]


class ReadOnlyStream(io.RawIOBase):
    """A stream that can only be read; subclasses define `readinto`."""

    def readable(self) -> bool:
        """Return True."""
        return True


class ForwardReader(ReadOnlyStream):
    """A stream that reads from another one, and closes it."""

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._stream = stream

    def close(self) -> None:
        """Close both streams."""
        if not self.closed:
            self._stream.close()
        super().close()
