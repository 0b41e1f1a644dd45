"""Derivation files, as far as a database needs them: the names and paths of their outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from nixdock.errors import StoreError

__all__ = ["outputs_of_derivation"]

# Derive([("NAME","PATH","ALGORITHM","HASH"),...],...; store paths and names have no escapes.
_START: Final = re.compile(r"Derive\(\[")
_OUTPUT: Final = re.compile(r'\("([^"\\]*)","([^"\\]*)","[^"\\]*","[^"\\]*"\)(,|\])')


def outputs_of_derivation(file: Path) -> dict[str, str]:
    """Return the path of each output that `file` names; raise StoreError.

    Outputs whose path is not known before they are built are left out, as Nix leaves them out.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"can't read the derivation {file}: {error}") from None
    outputs: dict[str, str] = {}
    start = _START.match(text)
    at = start.end() if start else -1
    while at >= 0 and (output := _OUTPUT.match(text, at)):
        name, path, end = output.groups()
        if path:
            outputs[name] = path
        if end == "]":
            return outputs
        at = output.end()
    raise StoreError(f"{file} is not a derivation: its outputs can't be read")
