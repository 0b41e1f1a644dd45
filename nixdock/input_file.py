"""Input files, read whole."""

from __future__ import annotations

from pathlib import Path

from nixdock.errors import InputError

__all__ = ["read_bytes"]


def read_bytes(file: Path, what: str) -> bytes:
    """Read a whole input file, or standard input for `-`; raise InputError."""
    try:
        return Path("/dev/stdin" if str(file) == "-" else file).read_bytes()
    except OSError as error:
        raise InputError(f"can't read {what} {file}: {error.strerror}") from None
