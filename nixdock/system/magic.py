"""Naming what a file is by its first bytes, for the error if something else was expected."""

from __future__ import annotations

from typing import Final

__all__ = ["kind_of_data"]

_KINDS: Final = (
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"BZh", "a bzip2 file"),
    (257, b"ustar", "a tar"),
    (0, b"SQLite format 3\0", "a SQLite database"),
    (0, b"\x7fELF", "a program"),
    (0, b"\r\0\0\0\0\0\0\0nix-archive-1", "a NAR"),
    (0, b"Derive(", "a derivation"),
    (0, b"#!", "a script"),
)


def kind_of_data(data: bytes) -> str | None:
    """Return what `data` is, such as "a gzip file", or None if that is not known."""
    for offset, magic, kind in _KINDS:
        if data.startswith(magic, offset):
            return kind
    return None
