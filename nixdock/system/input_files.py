"""Input files, read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from nixdock.errors import InputError

__all__ = ["parse_json_file", "read_bytes"]


def read_bytes(file: Path, what: str) -> bytes:
    """Read a whole input file, or standard input for `-`; raise InputError."""
    try:
        return Path("/dev/stdin" if str(file) == "-" else file).read_bytes()
    except OSError as error:
        raise InputError(f"can't read {what} {file}: {error.strerror}") from None


def parse_json_file(file: Path, what: str) -> Any:
    """Return what the JSON in a file says; raise InputError."""
    try:
        return orjson.loads(read_bytes(file, what))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{file}: not valid JSON: {error}") from None
