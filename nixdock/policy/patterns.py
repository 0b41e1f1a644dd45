"""Regular expressions for paths, compared in bounded time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.system.cpu_limit import CpuTimeExceededError, within_cpu_time
from nixdock.system.regexes import compile_regex
from nixdock.system.text import shown

__all__ = ["Patterns"]

# The time in seconds for comparing one path with all patterns: good ones need microseconds.
_MOST_SECONDS: Final = 10


class Patterns(Struct, frozen=True):
    """Regular expressions, in an order; a dot matches newlines, too."""

    compiled: tuple[re.Pattern[str], ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Patterns:
        """Compile the expressions; raise InputError if one is not valid."""
        return cls(tuple(map(compile_regex, texts)))

    def within(self, path: str) -> str | None:
        """Return the first expression that matches a part of the path, or None.

        Raise InputError if the comparison takes too long.
        """
        return self._first(path, re.Pattern.search)

    def covering(self, path: str) -> str | None:
        """Return the first expression that matches the whole path, or None; raise as `within`."""
        return self._first(path, re.Pattern.fullmatch)

    def _first(
        self, path: str, match: Callable[[re.Pattern[str], str], re.Match[str] | None]
    ) -> str | None:
        if not self.compiled:
            return None
        try:
            return within_cpu_time(
                _MOST_SECONDS,
                lambda: next((each.pattern for each in self.compiled if match(each, path)), None),
            )
        except CpuTimeExceededError:
            raise InputError(
                f"comparing the path {shown(path)!r} with"
                f" {' and '.join(repr(each.pattern) for each in self.compiled)} takes more than"
                f" {_MOST_SECONDS} seconds; write a regex without nested repetitions, such as"
                " (a+)+",
                path=path,
            ) from None
