"""Regular expressions that people write."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from nixdock.errors import InputError

__all__ = ["compile_regex"]


@lru_cache
def compile_regex(text: str) -> re.Pattern[str]:
    """Compile an expression whose dots match newlines, too; raise InputError if it is not valid."""
    try:
        with warnings.catch_warnings():
            # Python may read some brackets otherwise in the future; these are for its programmers.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(text, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{text!r} is not a regular expression: {error}") from None
