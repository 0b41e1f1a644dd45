"""Options and arguments that several commands share, and types of options."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from nixdock import Compression
from nixdock.cli.location import LOCATION
from nixdock.cli.path_types import InputPath, NamedOutput, StreamableOutput
from nixdock.errors import InputError, SpecError
from nixdock.nix.store_path import StorePath
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location, location_text
from nixdock.oci.reference import Reference
from nixdock.spec.chosen_previous import with_previous

if TYPE_CHECKING:
    from nixdock.spec.image_spec import ImageSpec

__all__ = [
    "COMPRESSION",
    "FILE",
    "FILE_OR_STDIN",
    "OUTPUT",
    "OUTPUT_PATH",
    "SIZE",
    "SOURCE",
    "all_platforms_option",
    "confinement_options",
    "format_option",
    "graph_argument",
    "is_stdin",
    "key_option",
    "names_text",
    "no_cache_option",
    "no_previous_option",
    "optional_graph_argument",
    "output_tag",
    "overridden",
    "override_options",
    "platform_option",
    "previous_option",
    "quiet_option",
    "reuse_option",
    "root_option",
    "spec_argument",
    "tag_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

FILE: Final = InputPath(path_type=Path)
"""The path of a file or directory."""

FILE_OR_STDIN: Final = InputPath(path_type=Path, allow_dash=True)
"""The path of a file; `-` is standard input."""

SOURCE: Final = InputPath()
"""The location of a spec or an image, or a path, as text that the command parses."""


class _Compression(click.ParamType):  # type: ignore[type-arg]
    """A compression, with its level."""

    name = "compression"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 (click's)
        return Compression.SYNTAX

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Compression:
        try:
            return Compression.of(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


COMPRESSION: Final = _Compression()
"""A compression."""


def is_stdin(location: Location) -> bool:
    """Tell whether a location is standard input."""
    return location == FileLocation(Path("-"))


# What is only written need not be readable, as the pipe of another user's process is not.
OUTPUT: Final = StreamableOutput(path_type=Path, readable=False)
"""The path of a file to write; `-` is standard output, which has the path /dev/stdout."""

OUTPUT_PATH: Final = NamedOutput(path_type=Path, readable=False)
"""The path of a file or directory to write, which is not standard output."""

spec_argument = click.argument("spec", type=FILE_OR_STDIN)

graph_argument = click.argument("graph", type=FILE_OR_STDIN)

optional_graph_argument = click.argument("graph", type=FILE_OR_STDIN, required=False)

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

platform_option = click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Platform of the image; an image for another one is an error."
    "  [default: linux/amd64, of a file with images for several]",
)

all_platforms_option = click.option(
    "--all-platforms", is_flag=True, help="Take the index with the images for all platforms."
)

previous_option = click.option(
    "--previous",
    multiple=True,
    type=LOCATION,
    help="Plan file or image that the new image replaces, in place of the spec's. Repeatable, the"
    " newest first, if some machines have one and some another.",
)

no_previous_option = click.option(
    "--no-previous", is_flag=True, help="Plan without memory of the images that are replaced."
)

root_option = click.option(
    "--root",
    "roots",
    multiple=True,
    help="Store path whose closure is in the image. Repeatable.  [default: all of the graph]",
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


reuse_option = click.option(
    "--reuse",
    multiple=True,
    metavar="REFERENCE",
    help="Another image whose layers may be taken over, in a registry or, as a location or a path,"
    " in a file. Repeatable.",
)

no_cache_option = click.option(
    "--no-cache", is_flag=True, help="Do not use the cache of layers that are known."
)


def confinement_options(command: _Command) -> _Command:
    """Add the options that set the parameter `confinement`, a `Confinement`, to a command.

    It is None if none of them is given: versions of click disagree on other defaults of such flags.
    """
    for name, value, text in (
        (
            "--in-nix-build",
            "nix-build",
            "Let Nix confine scripts, and give them the environment of its build.",
        ),
        (
            "--allow-unconfined-scripts",
            "preferred",
            "Run scripts with all of your rights where the system can't confine them.",
        ),
    ):
        command = click.option(name, "confinement", flag_value=value, help=text)(command)
    return command


tag_option = click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="[NAME:]TAG",
    help="Tag of the image, or name and tag, in place of the spec's. Repeatable, for an image with"
    " several names.",
)


def override_options(command: _Command) -> _Command:
    """Add --graph, --tag, --tag-of-output and --previous; see `overridden` and `output_tag`."""
    for option in (
        previous_option,
        click.option(
            "--tag-of-output",
            is_flag=True,
            help="Use the hash in the store path of the output as the image's tag.",
        ),
        tag_option,
        click.option(
            "--graph", type=SOURCE, help="File with the closure's graph, in place of the spec's."
        ),
    ):
        command = option(command)
    return command


def overridden(
    spec: ImageSpec,
    graph: str | None = None,
    tags: Sequence[str] = (),
    previous: Sequence[Location] = (),
) -> ImageSpec:
    """Return `spec` with another graph, other names and other previous images, if they are given.

    A spec whose closure is not to be planned needs no graph, so `graph` does not change it. Each of
    `tags` is TAG or NAME:TAG. Raise InputError if it is not, and UsageError if the spec can't have
    previous images.
    """
    planned = spec.planned_closure
    if graph is not None and planned is not None:
        closure = msgspec.structs.replace(planned, graph=graph)
        spec = msgspec.structs.replace(spec, closure=closure)
    try:
        spec = with_previous(spec, [location_text(location) for location in previous])
    except SpecError as error:
        raise click.UsageError(f"--previous: {error}") from None
    if tags:
        first, *others = (Reference.tagged(spec.name, text) for text in tags)
        spec = msgspec.structs.replace(
            spec,
            name=first.repository if ":" in tags[0] else spec.name,
            tag=first.tag,
            extra_tags=[str(reference) for reference in others],
        )
    return spec


def names_text(spec: ImageSpec) -> str:
    """Return the names of the image that `spec` describes, as text."""
    return ", ".join(map(str, spec.references))


def output_tag(output: Path | None, tags: Sequence[str]) -> str:
    """Return the hash part of an output's store path, for --tag-of-output.

    Raise UsageError if there is no output or if `tags` are given too, InputError if the output is
    not a store path.
    """
    if tags:
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
