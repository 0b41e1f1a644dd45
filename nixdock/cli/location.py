"""The location of an image as an argument, where docker:// may be left out."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

import click

from nixdock.cli.path_types import beside_standard_input
from nixdock.errors import InputError
from nixdock.oci.location import FileLocation, Location, is_file_name, location_of
from nixdock.oci.registry_reference import RegistryReference, check_no_password
from nixdock.system.presence import exists

__all__ = ["LOCATION", "named_location"]

# As Docker tells hosts from other parts of a name: by a dot, a port, or the one name without.
_HOST: Final = re.compile(r"(?:[^/]*[.:][^/]*|localhost)/")

_DIGEST: Final = re.compile(r"@sha\d+:")


def named_location(text: str) -> Location:
    """Return the location `text`, or the reference with a host, if there is no such file.

    Without a tag or digest, a name like app.json or app.tar is that of a file. Raise InputError as
    `parse_location` does, and if the reference has a digest that is none.
    """
    location = location_of(text)
    if not isinstance(location, FileLocation) or location.form is not None:
        return location
    if exists(location.path):
        return location
    # It would be repeated as the name of a missing file.
    check_no_password(text)
    if _HOST.match(text) and not is_file_name(text):
        if _DIGEST.search(text):
            # A digest that is not whole, as it is shown to people, is no name of a file.
            return RegistryReference.parse(text)
        with suppress(InputError):
            return RegistryReference.parse(text)
    return location


class _Location(click.Path):
    """The location of an image; shells complete it as they do paths."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the `Location`; raise BadParameter if `value` is none."""
        try:
            return named_location(beside_standard_input(str(value)))
        except InputError as error:
            self.fail(str(error), param, ctx)


LOCATION: Final = _Location()
"""The location of an image: in a file or directory, or in a registry, with or without docker://."""
