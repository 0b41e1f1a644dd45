"""`nixdock schema`."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import click

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock schema > image-spec.json
"""


@click.command("schema", epilog=_EXAMPLES)
def command() -> None:
    """Print the JSON Schema of an image spec."""
    schema = files("nixdock").joinpath("spec/image-spec-1.json").read_text()
    click.echo(schema, nl=False)
