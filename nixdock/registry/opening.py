"""Open images wherever they are: the one place that knows every kind of location."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location, location_text
from nixdock.oci.registry_reference import RegistryReference
from nixdock.read.opening import REGISTRY, ImageFile, open_image, read_images
from nixdock.read.problem import Complain, refuse
from nixdock.read.selection import named_images

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Platform
    from nixdock.registry.access import Access

__all__ = ["open_location"]


@contextmanager
def open_location(
    location: Location,
    access: Access | None = None,
    *,
    platform: Platform | None = None,
    keep: bool = False,
    complain: Complain = refuse,
) -> Iterator[ImageFile]:
    """Open the images at `location`; they can be read until the block ends.

    Documents are read and checked at once, layers when they are opened. If a registry has an index
    there, only the image for `platform` is fetched, or all images if it is None. With `keep`,
    layers from a registry are kept in temporary files, because they will be read several times.
    Raise InputError if there is no image, ImageError for the first problem, and RegistryError if
    the registry does not answer as it should. If `complain` returns instead of raising, the damaged
    part is left out.
    """
    match location:
        case FileLocation():
            with open_image(location.path, complain) as file:
                yield _chosen(file, location)
        case RegistryReference():
            _check_network(location)
            with _open_remote(location, access, platform, keep, complain) as file:
                yield file


@contextmanager
def _open_remote(
    reference: RegistryReference,
    access: Access | None,
    platform: Platform | None,
    keep: bool,
    complain: Complain,
) -> Iterator[ImageFile]:
    from nixdock.registry.image_files import RegistryFiles, fitting_manifest, stored_index  # noqa: PLC0415
    from nixdock.registry.pull_places import find_image  # noqa: PLC0415 (only for registries)

    place = location_text(reference)
    repository, found = find_image(reference, access)
    manifest = found if platform is None else fitting_manifest(repository, found, platform)
    files = RegistryFiles(repository, manifest, reference, keep=keep)
    try:
        file = replace(read_images(files, place, complain), format=REGISTRY)
        if manifest is not found:
            index = stored_index(found)
            images = tuple(dataclasses.replace(image, index=index) for image in file.images)
            file = replace(file, images=images)
        yield file
    finally:
        files.close()


def _check_network(reference: RegistryReference) -> None:
    """Raise InputError in the sandbox of a Nix build, where only loopback can be reached."""
    in_build = "NIX_BUILD_TOP" in os.environ and "IN_NIX_SHELL" not in os.environ
    if not in_build or reference.host.startswith(("localhost", "127.", "[::1]")):
        return
    if {name for _, name in socket.if_nameindex()} <= {"lo"}:
        place = location_text(reference)
        raise InputError(
            f"{place} can't be read within a Nix build, which has no network; fetch the image with"
            " pullImage, and use the result, such as for fromImage",
            path=place,
        )


def _chosen(file: ImageFile, location: FileLocation) -> ImageFile:
    """Return what the location selects of a file; raise InputError if it is something else."""
    file = _in_form(file, location)
    if location.name is None:
        return file
    images = tuple(named_images(file, location.name))
    if not images:
        names = ", ".join(name for image in file.images for name in image.names) or "none"
        raise InputError(
            f"{file.path} has no image named {location.name}; the names in it are: {names}",
            path=file.path,
        )
    return replace(file, images=images)


def _in_form(file: ImageFile, location: FileLocation) -> ImageFile:
    match location.form:
        case None:
            return file
        case Format.DOCKER_ARCHIVE if file.docker is not None:
            return file
        case Format.OCI_ARCHIVE if file.format in {Format.ARCHIVE, Format.OCI_ARCHIVE}:
            return file
        case Format.OCI_LAYOUT if file.format is Format.OCI_LAYOUT:
            return file
    raise InputError(
        f"{file.path} is an image in the form {file.format}, not {location.form}", path=file.path
    )
