"""Reading whole input files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nixdock.errors import InputError
from nixdock.system.readers import DescriptorReader
from nixdock.system.strict_json import parse_strictly
from nixdock.system.writers import descriptor_of

__all__ = ["parse_json_file", "read_bytes"]


def read_bytes(file: Path, what: str) -> bytes:
    """Return the contents of `file`, or standard input for `-`.

    Raise InputError, in which `what` describes the file, if it can't be read.
    """
    descriptor = 0 if str(file) == "-" else descriptor_of(file)
    try:
        return file.read_bytes() if descriptor is None else DescriptorReader(descriptor).readall()
    except OSError as error:
        raise InputError(f"can't read {what} {file}: {error.strerror}", path=file) from None


def parse_json_file(file: Path, what: str) -> Any:
    """Return the JSON value in `file`; raise InputError if it can't be read or is not JSON."""
    try:
        return parse_strictly(read_bytes(file, what))
    except ValueError as error:
        raise InputError(f"{what} {file} is not valid JSON: {error}", path=file) from None
