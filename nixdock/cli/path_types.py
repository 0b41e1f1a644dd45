"""The types of parameters that name files: which are read, and which are written."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Destination", "InputPath", "NamedOutput", "OutputPath", "StreamableOutput"]


class InputPath(click.Path):
    """The type of parameters that name a file or directory; an empty text is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raise BadParameter if it is empty, which would be the directory `.`."""
        if value == "":
            self.fail("the name of a file is empty", param, ctx)
        return super().convert(value, param, ctx)


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
