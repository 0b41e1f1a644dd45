"""The text that `nix-store --dump-db` prints and `nix-store --load-db` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from nixdock.errors import ClosureError

__all__ = ["RegistrationRecord", "format_registration", "parse_registration"]

_NUMBER: Final = re.compile(r"[0-9]{1,30}")


class RegistrationRecord(Struct, frozen=True):
    """The registration of one path, unchecked; `deriver` is empty if there is none."""

    path: str
    nar_hash: str
    nar_size: int
    deriver: str
    references: tuple[str, ...]


def parse_registration(data: bytes) -> Iterator[RegistrationRecord]:
    """Yield the records of a registration text.

    A record is a path, its NAR hash, its NAR size, its deriver (may be empty), the number of
    references and the references, one per line. Raise ClosureError, with the number of the line in
    `place`, if the text has another form.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ClosureError(
            f"the graph is neither JSON nor registration text: the byte at {error.start} is not"
            " ASCII; nix path-info --json --recursive STORE_PATH prints a graph"
        ) from None
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    # The number of lines read so far, and so the number, from 1, of the last one.
    line = 0

    def unexpected(expected: str, found: str) -> ClosureError:
        return ClosureError(f"line {line}: expected {expected}, not {found}", place=f"line {line}")

    def next_line(expected: str) -> str:
        nonlocal line
        line += 1
        if line > len(lines):
            raise unexpected(expected, "the end of the text")
        return lines[line - 1]

    def next_number(expected: str) -> int:
        digits = next_line(expected)
        if _NUMBER.fullmatch(digits) is None:
            raise unexpected(expected, repr(digits))
        return int(digits)

    while line < len(lines):
        path = next_line("a store path")
        if not path.startswith("/"):
            raise unexpected("a store path", repr(path))
        nar_hash = next_line("a NAR hash")
        nar_size = next_number("a NAR size")
        deriver = next_line("a deriver")
        count = next_number("a number of references")
        references = tuple(next_line("a reference") for _ in range(count))
        yield RegistrationRecord(path, nar_hash, nar_size, deriver, references)


def format_registration(records: Iterable[RegistrationRecord]) -> bytes:
    """Return the registration text of `records`."""
    lines: list[str] = []
    for record in records:
        lines += (record.path, record.nar_hash, str(record.nar_size), record.deriver)
        lines += (str(len(record.references)), *record.references)
    return "".join(f"{line}\n" for line in lines).encode()
