"""Options and arguments that several commands share, and types of options."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from nixdock import Access
from nixdock.errors import InputError
from nixdock.nix.store_path import StorePath
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location, location_of
from nixdock.oci.reference import Reference

if TYPE_CHECKING:
    from nixdock.spec.image_spec import ImageSpec

__all__ = [
    "FILE",
    "FILE_OR_STDIN",
    "LOCATION",
    "OUTPUT",
    "SIZE",
    "access_option",
    "format_option",
    "graph_argument",
    "is_stdin",
    "key_option",
    "output_tag",
    "overridden",
    "override_options",
    "quiet_option",
    "spec_argument",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path)
"""The path of a file or directory."""

FILE_OR_STDIN: Final = click.Path(path_type=Path, allow_dash=True)
"""The path of a file; `-` is standard input."""


class _Location(click.Path):
    """The location of an image; shells complete it as they do paths."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the `Location`; raise BadParameter if `value` is none."""
        try:
            return location_of(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


LOCATION: Final = _Location()
"""The location of an image: in a file or directory, or in a registry."""


def is_stdin(location: Location) -> bool:
    """Tell whether a location is standard input."""
    return location == FileLocation(Path("-"))


class _Output(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert("/dev/stdout" if value == "-" else value, param, ctx)


OUTPUT: Final = _Output(path_type=Path)
"""The path of a file to write; `-` is standard output, which has the path /dev/stdout."""

spec_argument = click.argument("spec", type=FILE_OR_STDIN)

graph_argument = click.argument("graph", type=FILE_OR_STDIN)

key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    help="Key of a graph in a structured-attrs file. Repeatable.  [default: all graphs]",
)

format_option = click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.ARCHIVE.value,
    show_default=True,
    help="Format of the image; an archive is both an OCI archive and a docker-archive.",
)

access_option = click.option(
    "--insecure",
    "access",
    is_flag=True,
    callback=lambda _context, _option, insecure: Access(insecure=True) if insecure else None,
    help="Accept any certificate of a registry, and plain HTTP: for tests and private networks.",
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def override_options(command: _Command) -> _Command:
    """Add --graph, --tag and --tag-of-output to a command; see `overridden` and `output_tag`."""
    for option in (
        click.option(
            "--tag-of-output",
            is_flag=True,
            help="Use the hash in the store path of the output as the image's tag.",
        ),
        click.option("--tag", help="Tag of the image, in place of the spec's."),
        click.option("--graph", help="File with the closure's graph, in place of the spec's."),
    ):
        command = option(command)
    return command


def overridden(spec: ImageSpec, graph: str | None, tag: str | None) -> ImageSpec:
    """Return `spec` with another graph and tag, if they are given.

    A spec without a closure needs no graph, so `graph` does not change it. Raise InputError if
    `tag` is not a tag.
    """
    if graph is not None and spec.closure is not None:
        closure = msgspec.structs.replace(spec.closure, graph=graph)
        spec = msgspec.structs.replace(spec, closure=closure)
    if tag is not None:
        spec = msgspec.structs.replace(spec, tag=Reference.of(spec.name, tag).tag)
    return spec


def output_tag(output: Path | None, tag: str | None) -> str:
    """Return the hash part of an output's store path, for --tag-of-output.

    Raise UsageError if there is no output or if `tag` is given too, InputError if the output is not
    a store path.
    """
    if tag is not None:
        raise click.UsageError("--tag and --tag-of-output are mutually exclusive")
    if output is None:
        raise click.UsageError("--tag-of-output needs an output; give it with -o")
    return StorePath.parse(str(output.absolute())).hash_part


class _Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes with an optional unit: decimal (kB, MB, ...) or binary (KiB, MiB, ...)."""

    name = "size"

    _PATTERN: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", re.ASCII)
    _UNITS: Final = {"": 1, "b": 1} | {
        f"{prefix}{unit}": base**power
        for power, prefix in enumerate("kmgt", 1)
        for unit, base in (("b", 1000), ("ib", 1024))
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes; raise BadParameter if `value` is not a size."""
        match = self._PATTERN.fullmatch(value.strip())
        unit = self._UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            self.fail(f"{value!r} is not a size; expected a size like 50MB or 1GiB", param, ctx)
        return int(Decimal(match[1]) * unit)


SIZE: Final = _Size()
"""A size, as a number of bytes."""
