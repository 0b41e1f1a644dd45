"""`nixdock schema`."""

from __future__ import annotations

from importlib.resources import files

import click

__all__ = ["command"]


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of an image spec."""
    schema = files("nixdock").joinpath("spec/image-spec-1.json").read_text()
    click.echo(schema, nl=False)
