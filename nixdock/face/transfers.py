"""Images on their way between registries and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nixdock.layers.progress import Progress
    from nixdock.oci.layout import Format
    from nixdock.registry.access import Access
    from nixdock.transfer.copy_image import Copied
    from nixdock.transfer.opening import Selection

__all__ = ["copy_image", "list_tags", "pull_image"]


def pull_image(  # noqa: PLR0913 (a keyword for each choice)
    reference: str,
    target: str | os.PathLike[str],
    *,
    form: Format | str = "archive",
    platform: str | None = None,
    all_platforms: bool = False,
    referrers: bool = False,
    access: Access | None = None,
    mtime: int = 1,
    progress: Progress | None = None,
) -> Copied:
    """Fetch an image from a registry into the file or directory `target`, in the format `form`.

    `platform`, as OS/ARCHITECTURE[/VARIANT], selects one of several images; the default is
    linux/amd64 if there are several platforms. With `all_platforms`, the whole index is fetched,
    and with `referrers` what is attached to it.
    The manifest keeps its bytes, except in a docker-archive, which has none. `mtime` is the time of
    an archive's members, in seconds since 1970. Parts of blobs stay in the user's cache if the
    transfer breaks, and the next call goes on from there. Raise InputError if there is no such
    image, ImageError if it is damaged, RegistryError if the registry can't be reached or refuses,
    and OutputError if `target` can't be written.
    """
    from nixdock.layers.progress import NO_PROGRESS
    from nixdock.oci.layout import Format
    from nixdock.oci.location import FileLocation, registry_reference
    from nixdock.transfer import copy_image
    from nixdock.transfer.file_destination import FileForm

    chosen = Format(form)
    return copy_image.copy_image(
        registry_reference(reference),
        FileLocation(Path(target), chosen),
        FileForm(chosen, mtime=mtime, resumable=True),
        _selection(platform, all_platforms=all_platforms),
        access,
        progress or NO_PROGRESS,
        referrers=referrers,
    )


def copy_image(
    source: str,
    destination: str,
    *,
    platform: str | None = None,
    all_platforms: bool = False,
    referrers: bool = False,
    access: Access | None = None,
    mtime: int = 1,
    progress: Progress | None = None,
) -> Copied:
    """Copy an image between two locations: docker://, oci:, oci-archive:, docker-archive:, a path.

    The other arguments are those of `pull_image`. What is at the destination already is not sent,
    and blobs of a repository of the same registry are mounted. An OCI layout keeps all else that
    it has; an archive is replaced. Raise what `pull_image` raises.
    """
    from nixdock.layers.progress import NO_PROGRESS
    from nixdock.oci.location import parse_destination, parse_location
    from nixdock.transfer import copy_image as copying
    from nixdock.transfer.opening import how_to_write

    origin, place = parse_location(source), parse_destination(destination)
    return copying.copy_image(
        origin,
        place,
        how_to_write(origin, place, mtime),
        _selection(platform, all_platforms=all_platforms),
        access,
        progress or NO_PROGRESS,
        referrers=referrers,
    )


def list_tags(repository: str, *, access: Access | None = None) -> list[str]:
    """Return the tags of a repository in a registry, sorted.

    Raise InputError if `repository` is not one, and RegistryError if the registry can't be reached
    or does not have it.
    """
    from nixdock.errors import InputError
    from nixdock.oci.location import registry_reference
    from nixdock.registry import manifests
    from nixdock.registry.pull_places import access_to
    from nixdock.registry.repository import Repository
    from nixdock.registry.transport import Transport

    reference = registry_reference(repository)
    last = repository.rpartition("/")[2]
    if ":" in last or "@" in last:
        raise InputError(f"{repository} names one image; the tags are those of {reference.name}")
    transport = Transport(reference.host, access_to(reference, access))
    return manifests.list_tags(Repository(transport, reference.repository))


def _selection(platform: str | None, *, all_platforms: bool) -> Selection:
    from nixdock.errors import InputError
    from nixdock.oci.platforms import wanted_platform
    from nixdock.transfer.opening import Selection

    if platform is not None and all_platforms:
        raise InputError("a platform and all platforms are asked for; choose one of the two")
    return Selection(wanted_platform(platform), every=all_platforms)
