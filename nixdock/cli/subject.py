"""An image or index that something is attached to, or that is verified, as an argument."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

import click

from nixdock.cli.options import LOCATION
from nixdock.errors import InputError
from nixdock.oci.location import FileLocation
from nixdock.oci.registry_reference import RegistryReference

__all__ = ["SUBJECT"]

# As Docker tells hosts from other parts of a name: by a dot, a port, or the one name without.
_HOST: Final = re.compile(r"(?:[^/]*[.:][^/]*|localhost)/")


class _Subject(click.Path):
    """A location, or a reference with its host, as `push` takes it, if there is no such file."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        location = LOCATION.convert(value, param, ctx)
        is_path = isinstance(location, FileLocation) and location.form is None
        if is_path and _HOST.match(str(value)) and not location.path.exists():
            with suppress(InputError):
                return RegistryReference.parse(str(value))
        return location


SUBJECT: Final = _Subject()
"""The location of an image in a registry, where docker:// may be left out, or in a layout."""
