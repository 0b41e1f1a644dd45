"""The text form of a registration: what `nix-store --load-db` and `--dump-db` exchange."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nixdock.errors import ClosureError

__all__ = ["RegistrationRecord", "format_registration", "parse_registration"]

_NUMBER: Final = re.compile(r"[0-9]{1,30}")


@dataclass(frozen=True, slots=True)
class RegistrationRecord:
    """One path's lines, still as text: path, hash, size, deriver and references."""

    path: str
    nar_hash: str
    nar_size: int
    deriver: str
    references: tuple[str, ...]


def parse_registration(data: bytes) -> Iterator[RegistrationRecord]:
    """Yield the records of a registration text.

    A record is a path, its NAR hash, its NAR size, its deriver (may be empty), the number of
    references and the references, a line each. Raise ClosureError where the text departs from
    that, naming the line.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ClosureError(f"neither JSON nor a registration text: {error}") from None
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    at = 0

    def take(what: str) -> str:
        nonlocal at
        if at >= len(lines):
            raise ClosureError(f"line {at + 1}: the text ends where {what} should stand")
        at += 1
        return lines[at - 1]

    def number(what: str) -> int:
        digits = take(what)
        if _NUMBER.fullmatch(digits) is None:
            raise ClosureError(f"line {at}: {what} should stand here, not {digits!r}")
        return int(digits)

    while at < len(lines):
        path = take("a store path")
        if not path.startswith("/"):
            raise ClosureError(f"line {at}: a store path should stand here, not {path!r}")
        nar_hash = take("a NAR hash")
        nar_size = number("a NAR size")
        deriver = take("a deriver")
        count = number("a number of references")
        references = tuple(take("a reference") for _ in range(count))
        yield RegistrationRecord(path, nar_hash, nar_size, deriver, references)


def format_registration(records: Iterable[RegistrationRecord]) -> bytes:
    """Return the text of `records`."""
    lines: list[str] = []
    for record in records:
        lines += (record.path, record.nar_hash, str(record.nar_size), record.deriver)
        lines += (str(len(record.references)), *record.references)
    return "".join(f"{line}\n" for line in lines).encode()
