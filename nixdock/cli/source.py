"""Sources of images on the command line: specs, and images that exist already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock.cli.options import overridden
from nixdock.errors import InputError
from nixdock.oci.location import FileLocation, parse_location
from nixdock.oci.registry_reference import check_no_password
from nixdock.system.presence import exists, is_directory, is_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nixdock import ImageSpec
    from nixdock.oci.location import Location

__all__ = ["read_source", "spec_at"]

_START: Final = 512


def read_source(
    text: str, previous: Sequence[Location] = (), *, no_previous: bool = False
) -> ImageSpec | str:
    """Return the spec in the file that `text` names, or `text` if it is the location of an image.

    A spec may also be resolved, dockerTools' stream configuration, or come from standard input.
    `previous` are other previous images for the spec, which `no_previous` excludes. Raise
    InputError if the file can't be read, SpecError if it is not a valid spec, and UsageError if it
    can't have previous images.
    """
    if previous and no_previous:
        raise click.UsageError("--previous and --no-previous are mutually exclusive")
    location = parse_location(text)
    match location:
        case FileLocation(path, None) if not exists(path):
            # It would be repeated as the name of a missing file.
            check_no_password(text)
    spec = spec_at(location)
    if spec is not None:
        return overridden(spec, previous=previous)
    if previous:
        raise click.UsageError("--previous is for a spec, and the layers of an image are planned")
    return text


def spec_at(location: Location) -> ImageSpec | None:
    """Return the spec at a location, as `read_source` does, or None if an image may be there."""
    match location:
        case FileLocation(path, None) if str(path) == "-" or _is_json(path):
            # Slow to load, and not needed for images.
            from nixdock import read_spec

            return read_spec(path)
    return None


def _is_json(path: Path) -> bool:
    """Tell whether a file has a JSON document, which no image starts with."""
    if is_directory(path) or not exists(path):
        return False
    if not is_file(path):
        # A FIFO can be read only once, so it can't be an image.
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(_START).lstrip()[:1] in {b"{", b"["}
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", path=path) from None
