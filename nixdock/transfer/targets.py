"""Where a push goes, and what is there and elsewhere already; a build may go nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.oci.location import (
    FileLocation,
    Location,
    is_file_name,
    parse_location,
    registry_reference,
)
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.opening import open_location
from nixdock.registry.pull_places import access_to, place_to_read
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport
from nixdock.system.parallel import map_in_threads
from nixdock.system.presence import exists
from nixdock.transfer.known import Known
from nixdock.transfer.lookup import Seen, look_at
from nixdock.transfer.push_target import PushTarget

if TYPE_CHECKING:
    from nixdock.layers.layer import Layer
    from nixdock.oci.descriptor import Platform
    from nixdock.registry.access import Access

__all__ = ["Registries", "add_base", "reused_location", "target_reference"]

_LOOKUPS: Final = 6


def target_reference(text: str) -> RegistryReference:
    """Parse a destination, HOST/REPOSITORY[:TAG], with or without docker://.

    Raise InputError if it is none, or if it has a digest, which nobody can choose.
    """
    reference = registry_reference(text)
    if reference.digest is not None:
        raise InputError(
            f"{text} names a digest, which follows from the image; name a tag or nothing"
        )
    return reference


def reused_location(text: str) -> Location:
    """Parse where an image is whose layers may be taken over: in a registry, if it is no file.

    Raise InputError if it is neither a location nor a reference.
    """
    location = parse_location(text)
    match location:
        case FileLocation(path, None) if not is_file_name(text) and not exists(path):
            return RegistryReference.parse(text)
    return location


class Registries:
    """The registries that a push is about, each with one set of connections."""

    def __init__(self, access: Access, platform: Platform) -> None:
        self._access = access
        self._platform = platform
        self._transports: dict[tuple[str, bool, bool], Transport] = {}

    @property
    def requests(self) -> int:
        """The number of requests that were sent to all of them."""
        return sum(transport.request_count for transport in self._transports.values())

    def repository(self, reference: RegistryReference) -> Repository:
        """Return the repository of an image."""
        return self._repository(reference, access_to(reference, self._access), is_named=True)

    def _repository(
        self, reference: RegistryReference, access: Access, *, is_named: bool
    ) -> Repository:
        # Some repositories of a host may be configured as insecure; and where it takes the place
        # of a named one, nothing that was chosen for that is sent.
        key = (reference.host, access.insecure, is_named)
        transport = self._transports.get(key)
        if transport is None:
            transport = self._transports[key] = Transport(reference.host, access)
        return Repository(transport, reference.repository)

    def targets(
        self, references: Iterable[RegistryReference], reused: Iterable[Location], known: Known
    ) -> list[PushTarget]:
        """Return the repositories of `references`, each once, and add to `known` what there is.

        That is what the tags stand for now, and the images at the locations `reused`. Raise
        RegistryError if a registry can't be asked, and InputError if there is no image in a file.
        """
        reused = list(reused)
        tags: dict[tuple[str, str], dict[str, None]] = {}
        for reference in references:
            tags.setdefault((reference.host, reference.repository), {})[reference.manifest] = None
        repositories = {
            key: replace(self.repository(RegistryReference(*key)), is_target=True) for key in tags
        }
        remote = [each for each in reused if isinstance(each, RegistryReference)]
        names = [
            *((repositories[key], tag) for key, own in tags.items() for tag in own),
            *map(self._place, remote),
        ]
        seen = self._seen([*{(own.place, name): (own, name) for own, name in names}.values()])
        for image in seen:
            for blob in image.blobs:
                known.add(blob, [image.repository.place])
        for location in reused:
            if location not in remote:
                self._add_file(known, location)
        return [
            PushTarget(
                repository,
                tuple(tags[key]),
                tuple(each for each in seen if each.repository.place == repository.place),
            )
            for key, repository in repositories.items()
        ]

    def _place(self, reference: RegistryReference) -> tuple[Repository, str]:
        """Return the repository in which an image is read that is not replaced, and its name."""
        place, access = place_to_read(reference, self._access)
        is_named = place.host == reference.host
        return self._repository(place, access, is_named=is_named), place.manifest

    def _add_file(self, known: Known, location: Location) -> None:
        with open_location(location, platform=self._platform) as file:
            for image in file.images:
                known.add_image(image)

    def _seen(self, names: Sequence[tuple[Repository, str]]) -> list[Seen]:
        found = map_in_threads(lambda pair: look_at(*pair, self._platform), names, _LOOKUPS)
        return [seen for seen in found if seen is not None]


def add_base(known: Known, base: str, layers: Iterable[Layer]) -> None:
    """Let the layers of a base image in a registry be mounted from its repository."""
    location = parse_location(base)
    if isinstance(location, RegistryReference):
        for layer in layers:
            if layer.existing_digest is not None:
                known.add_home(layer.existing_digest, location.name)
