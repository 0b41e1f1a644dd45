"""Derivation files: the names and paths of their outputs, which a database registers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from nixdock.errors import StoreError

__all__ = ["outputs_of_derivation", "parse_outputs"]

# Derive([("NAME","PATH","ALGORITHM","HASH"),...],...; names and store paths contain no escapes.
_START: Final = re.compile(r"Derive\(\[")
_OUTPUT: Final = re.compile(r'\("([^"\\]*)","([^"\\]*)","[^"\\]*","[^"\\]*"\)(,|\])')


def outputs_of_derivation(file: Path) -> dict[str, str]:
    """Return the path of each output of the derivation in `file`.

    Outputs without a path, which is unknown until they are built, are left out, as in Nix's own
    database. Raise StoreError if `file` can't be read or is not a derivation.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise StoreError(f"can't read the derivation {file}: {error}", path=file) from None
    return parse_outputs(data, str(file))


def parse_outputs(data: bytes, file: str) -> dict[str, str]:
    """Return the same for the text of a derivation, which `file` names in errors.

    What a builder gets may be in any encoding.
    """
    text = data.decode("utf-8", "replace")
    outputs: dict[str, str] = {}
    start = _START.match(text)
    position = start.end() if start else -1
    while position >= 0 and (output := _OUTPUT.match(text, position)):
        name, path, end = output.groups()
        if path:
            outputs[name] = path
        if end == "]":
            return outputs
        position = output.end()
    raise StoreError(f"{file} is not a derivation: it has no list of outputs", path=file)
