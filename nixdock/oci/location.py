"""Image locations: where an image is, in the notation that skopeo's users know."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.oci.layout import Format
from nixdock.oci.registry_reference import RegistryReference

__all__ = [
    "FileLocation",
    "Location",
    "Place",
    "is_file_name",
    "location_of",
    "location_text",
    "parse_destination",
    "parse_location",
    "registry_hint",
    "registry_reference",
]

_TRANSPORTS: Final = {
    "oci": Format.OCI_LAYOUT,
    "oci-archive": Format.OCI_ARCHIVE,
    "docker-archive": Format.DOCKER_ARCHIVE,
}
_FOREIGN: Final = ("containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball")
# A file with such a name is rather missing than in a registry.
_FILE_SUFFIXES: Final = (".json", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
_LOCATION: Final = re.compile(r"([a-z-]+):(.*)", re.DOTALL)


class FileLocation(Struct, frozen=True):
    """Images in a file or directory.

    `form` is the form that they must have, or None if their content is to tell. `name` selects one
    of several images: the tag in a layout, the reference in a docker-archive.
    """

    path: Path
    form: Format | None = None
    name: str | None = None

    def __str__(self) -> str:
        # An archive of both forms has no transport of its own.
        transport = next((key for key, form in _TRANSPORTS.items() if form is self.form), None)
        if transport is None:
            # Such a path would be another location.
            return f"./{self.path}" if _is_special(str(self.path)) else str(self.path)
        return f"{transport}:{self.path}" + (f":{self.name}" if self.name else "")


Location = FileLocation | RegistryReference
"""Where an image is: in a file or directory, or in a registry."""

Place = str | os.PathLike[str] | Location
"""What names a location: itself, its text, or a path, which is never parsed."""


def location_of(place: Place) -> Location:
    """Return the location that `place` names; raise InputError as `parse_location` does."""
    if isinstance(place, FileLocation | RegistryReference):
        return place
    return parse_location(place) if isinstance(place, str) else FileLocation(Path(place))


def location_text(location: Location) -> str:
    """Return the text that `parse_location` parses to `location`."""
    return str(location) if isinstance(location, FileLocation) else f"docker://{location}"


def parse_location(text: str) -> Location:
    """Parse docker://REFERENCE, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF].

    Anything else is the path of a file or directory. Raise InputError if the reference is not valid
    or if nixdock does not read images there.
    """
    match = _LOCATION.match(text)
    transport, rest = match.groups() if match else ("", "")
    if transport == "docker" and rest.startswith("//"):
        return RegistryReference.parse(rest.removeprefix("//"))
    if transport in _FOREIGN:
        raise InputError(
            f"{text} is a location of skopeo that nixdock does not read; copy the image first:"
            f" skopeo copy {text} oci:DIRECTORY:TAG",
            path=text,
        )
    if transport == "docker":
        raise InputError(
            f"{text} is not a location: it should start with docker:// for a registry, or with"
            " docker-archive: for a file",
            path=text,
        )
    if transport in _TRANSPORTS:
        path, colon, name = rest.partition(":")
        if not path or (colon and not name):
            raise InputError(
                f"{text} is not a location: expected {transport}:PATH[:NAME]", path=text
            )
        return FileLocation(Path(path), _TRANSPORTS[transport], name or None)
    if not text:
        raise InputError("the location of an image is empty")
    return FileLocation(Path(text))


def parse_destination(text: str) -> Location:
    """Parse the location to which an image is to be written, as `parse_location` does."""
    if _transport(text) in _FOREIGN:
        raise InputError(
            f"{text} is a location of skopeo to which nixdock does not write; copy the image to a"
            f" layout, and from there: skopeo copy oci:DIRECTORY:TAG {text}",
            path=text,
        )
    return parse_location(text)


def registry_reference(text: str) -> RegistryReference:
    """Parse a reference, with or without docker://, where only an image in a registry can be.

    Raise InputError as `RegistryReference.parse` does, and for locations of other kinds, which
    might be names of Docker Hub as well.
    """
    transport = _transport(text)
    if transport in _TRANSPORTS or transport in _FOREIGN:
        hint = "`nixdock copy` copies images from and to files, and `nixdock load` into runtimes"
        raise InputError(f"{text} is not an image in a registry; {hint}", path=text)
    return RegistryReference.parse(text)


def is_file_name(text: str) -> bool:
    """Tell whether a text is rather the name of a file, which may be missing, than a reference."""
    return text.startswith(("./", "../", "/")) or text.endswith(_FILE_SUFFIXES)


def _is_special(text: str) -> bool:
    """Tell whether `text` begins as a location that is no path."""
    return _transport(text) in {"docker", *_TRANSPORTS, *_FOREIGN}


def _transport(text: str) -> str | None:
    match = _LOCATION.match(text)
    return match[1] if match else None


def registry_hint(path: Path) -> str:
    """Return what to add to the message that there is no file `path`, if it is like a reference."""
    if ":" not in path.name:
        return ""
    try:
        RegistryReference.parse(str(path))
    except InputError:
        return ""
    return f"; if this is an image in a registry, write docker://{path}"
