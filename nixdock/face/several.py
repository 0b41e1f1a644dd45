"""Arguments of which there are several: a single text would be taken letter by letter."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from nixdock.errors import InputError

__all__ = ["several"]

_Value = TypeVar("_Value")


def several(values: Iterable[_Value], name: str) -> tuple[_Value, ...]:
    """Return the values of the parameter `name`; raise InputError for a single text or path."""
    if isinstance(values, str | bytes | os.PathLike):
        raise InputError(f"{name} is {values!r}, but should be a list, such as [{values!r}]")
    return tuple(values)
