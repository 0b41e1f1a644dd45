"""The types of parameters that name files: which are read, and which are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = [
    "Destination",
    "InputPath",
    "NamedOutput",
    "OutputPath",
    "StreamableOutput",
    "beside_standard_input",
]


def beside_standard_input(text: str) -> str:
    """Return `text`, or the whole path of a file that is named `-`, as `./-` names it.

    A `Path` of that would be `-`, which stands for standard input.
    """
    return str(Path.cwd() / "-") if text != "-" and Path(text) == Path("-") else text


class InputPath(click.Path):
    """The type of parameters that name a file or directory; an empty text is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raise BadParameter if it is empty, which would be the directory `.`."""
        if value == "":
            self.fail("the name of a file is empty", param, ctx)
        name = beside_standard_input(value) if isinstance(value, str) else value
        return super().convert(name, param, ctx)


class OutputPath(InputPath):
    """The type of parameters that name a file or directory to write."""


class NamedOutput(OutputPath):
    """The type of parameters that name a file or directory to write, but not standard output."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raise BadParameter for `-`."""
        if value == "-":
            self.fail(
                "this can't be standard output; name a file, ./- if that is its name", param, ctx
            )
        return super().convert(value, param, ctx)


class StreamableOutput(OutputPath):
    """The type of parameters that name a file to write, or standard output."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; `-` is standard output, which has the path /dev/stdout."""
        return super().convert("/dev/stdout" if value == "-" else value, param, ctx)


class Destination(StreamableOutput):
    """The type of parameters that name a place for an image, whose text the command parses."""
