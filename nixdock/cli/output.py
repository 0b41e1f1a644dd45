"""Output that several commands share: sizes, JSON, and binary data on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nixdock.system.text import size_text
from nixdock.system.writers import StreamWriter, descriptor_of

__all__ = [
    "check_not_terminal",
    "is_standard_output",
    "is_within",
    "size_text",
    "standard_output",
]


def is_standard_output(target: Path) -> bool:
    """Return whether `target`, an OUTPUT, is standard output."""
    return descriptor_of(target) == 1


def is_within(file: Path, directory: Path) -> bool:
    """Return whether `file` is `directory`, or would be in it, once it is written."""
    return file.resolve().is_relative_to(directory.resolve())


def check_not_terminal(target: Path) -> None:
    """Raise UsageError if `target` is standard output and can't take binary data."""
    if is_standard_output(target):
        standard_output("name a file with -o, or use a pipe")


def standard_output(hint: str) -> StreamWriter:
    """Return a writer of binary data to standard output.

    Raise UsageError, with `hint` at the end, if standard output is closed or a terminal.
    """
    if sys.stdout is None:
        raise click.UsageError(f"standard output is closed; {hint}")
    if sys.stdout.isatty():
        raise click.UsageError(f"standard output is a terminal; {hint}")
    return StreamWriter(sys.stdout.fileno(), "standard output")
