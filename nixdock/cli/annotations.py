"""Annotations on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock import ImageSpec

__all__ = ["annotated", "annotation_options", "image_annotation_options", "parse_annotations"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def annotation_options(what: str, default: str) -> Callable[[_Command], _Command]:
    """Add --annotation and --no-default-annotations to a command that makes an index or image.

    They set the parameters `annotations`, by their keys, and `default_annotations`.
    """

    def add(command: _Command) -> _Command:
        for option in (
            click.option(
                "--no-default-annotations",
                "default_annotations",
                flag_value=False,
                default=True,
                type=bool,
                help=f"Leave out the annotations that the {what} has by itself: {default}.",
            ),
            click.option(
                "--annotation",
                "annotations",
                multiple=True,
                metavar="KEY=VALUE",
                callback=parse_annotations,
                help=f"Annotation of the {what}, such as org.opencontainers.image.revision=REV."
                " Repeatable.",
            ),
        ):
            command = option(command)
        return command

    return add


image_annotation_options = annotation_options(
    "image", "its title, version, date and base image, as far as they are known, and labels"
)
"""The options --annotation and --no-default-annotations of commands that build an image."""


def annotated(spec: ImageSpec, annotations: dict[str, str], *, default: bool) -> ImageSpec:
    """Return the spec with more annotations, and without the default ones unless `default`."""
    return msgspec.structs.replace(
        spec,
        annotations={**spec.annotations, **annotations},
        default_annotations=spec.default_annotations and default,
    )


def parse_annotations(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> dict[str, str]:
    """Return the annotations that texts KEY=VALUE state; the callback of an option."""
    annotations: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, param)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise click.BadParameter(f"{shown(text)} is not UTF-8", ctx, param) from None
        if annotations.setdefault(key, value) != value:
            raise click.BadParameter(
                f"{shown(key)} is given twice, with different values", ctx, param
            )
    return annotations
