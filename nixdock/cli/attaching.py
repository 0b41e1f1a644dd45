"""The options of the commands that attach something to images, or read it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from nixdock.cli.annotations import parse_annotations
from nixdock.cli.options import FILE

__all__ = ["annotation_option", "attaching_options", "platform_of_index_option", "sbom_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

sbom_option: Final = click.option(
    "--sbom",
    type=click.Choice(["spdx", "cyclonedx"]),
    help="Attach the image's bill of materials in that format.",
)

platform_of_index_option = click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Of an index, the image for this platform.  [default: the index itself]",
)


annotation_option = click.option(
    "--annotation",
    "annotations",
    multiple=True,
    metavar="KEY=VALUE",
    callback=parse_annotations,
    help="Annotation of the manifest. Repeatable.",
)


def attaching_options(command: _Command) -> _Command:
    """Add --sbom, --meta, --provenance, --builder-id and --attach-as to a command.

    The command takes the parameter `attaching`, an `Attaching`.
    """

    @functools.wraps(command)
    def with_attaching(
        *args: Any,
        sbom: str | None,
        meta: Path | None,
        provenance: bool,
        builder_id: str | None,
        attach_as: str,
        **others: Any,
    ) -> Any:
        from nixdock import Attaching

        if meta is not None and sbom is None:
            raise click.UsageError("--meta is for --sbom")
        if builder_id is not None and not provenance:
            raise click.UsageError("--builder-id is for --provenance")
        attaching = Attaching(sbom, meta, provenance, builder_id, attach_as)
        if attach_as == "index" and not attaching:
            raise click.UsageError("--attach-as is for --sbom and --provenance")
        return command(*args, attaching=attaching, **others)

    options = (
        click.option(
            "--attach-as",
            type=click.Choice(["referrers", "index"]),
            default="referrers",
            show_default=True,
            help="How: beside the image, or in an index with it, as BuildKit does.",
        ),
        click.option(
            "--builder-id",
            metavar="URI",
            help="For --provenance: what builds the image, such as the URI of a CI workflow.",
        ),
        click.option(
            "--provenance",
            is_flag=True,
            help="Attach a statement of where the image comes from, as SLSA defines it.",
        ),
        click.option(
            "--meta",
            type=FILE,
            help="For --sbom: file with licences and more, as for `nixdock sbom`.",
        ),
        sbom_option,
    )
    made = functools.reduce(lambda function, option: option(function), options, with_attaching)
    return cast("_Command", made)
