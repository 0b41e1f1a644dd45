"""Read-only streams on top of another stream."""

from __future__ import annotations

import io

__all__ = ["ForwardReader", "ReadOnlyStream"]


class ReadOnlyStream(io.RawIOBase):
    """A stream that can only be read; subclasses define `readinto`."""

    def readable(self) -> bool:
        """Return True."""
        return True


class ForwardReader(ReadOnlyStream):
    """A stream that reads from another one, which it owns."""

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._stream = stream

    def close(self) -> None:
        """Close the stream below as well."""
        if not self.closed:
            self._stream.close()
        super().close()
