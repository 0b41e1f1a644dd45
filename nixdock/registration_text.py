"""The text form of a registration: what `nix-store --load-db` and `--dump-db` exchange."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nixdock.errors import ClosureError

if TYPE_CHECKING:
    from nixdock.closure import Closure, PathInfo
    from nixdock.store_path import Hash

__all__ = [
    "RegistrationRecord",
    "known_nar_hash",
    "parse_registration",
    "render_registration",
]


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
        if not digits.isascii() or not digits.isdigit():
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


def render_registration(closure: Closure) -> bytes:
    """Return the registration text of a closure, paths in ascending order.

    Raise ClosureError when a path has no NAR hash.
    """
    lines: list[str] = []
    for info in closure:
        nar_hash = known_nar_hash(info)
        lines += (info.path, f"{nar_hash.algorithm}:{nar_hash.base32}", str(info.nar_size))
        lines += (info.deriver or "", str(len(info.references)), *info.references)
    return "".join(f"{line}\n" for line in lines).encode()


def known_nar_hash(info: PathInfo) -> Hash:
    """Return the NAR hash that a registration can't do without; raise ClosureError."""
    if info.nar_hash is None:
        raise ClosureError(
            f"{info.path} has no NAR hash, so it can't be registered; export the graph with"
            " `nix path-info --json --recursive` or exportReferencesGraph"
        )
    if info.nar_hash.algorithm != "sha256":
        raise ClosureError(f"{info.path}: the NAR hash must be sha256, not {info.nar_hash}")
    return info.nar_hash
