"""The places from which an image can be pulled: mirrors, and the registry that its name states."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError, RegistryError, ToolError
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.access import Access
from nixdock.registry.manifests import RemoteManifest, existing_manifest, get_manifest
from nixdock.registry.registries_conf import RegistryTable, registry_tables
from nixdock.registry.registry_name import RegistryName
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport

__all__ = ["PullPlace", "access_to", "find_image", "place_to_read", "pull_places"]

log = logging.getLogger(__name__)

# The next place is at hand.
_ATTEMPTS_AT_MIRRORS: Final = 1


class PullPlace(Struct, frozen=True):
    """A place of an image: what is asked for, and whether it need not be secure."""

    reference: RegistryReference
    insecure: bool = False


def find_image(
    reference: RegistryReference, access: Access | None = None
) -> tuple[Repository, RemoteManifest]:
    """Return the first repository that has an image, and its manifest or index.

    Raise InputError if the configuration is not valid or forbids it, and RegistryError, for the
    last place, if none has the image.
    """
    place, repository, found = _search(reference, access or Access())
    return repository, found or existing_manifest(repository, place.reference)


def place_to_read(
    reference: RegistryReference, access: Access | None = None
) -> tuple[RegistryReference, Access]:
    """Return the first place that has an image, or the last one, and how to reach it.

    The last one is not asked. Raise InputError as `find_image` does.
    """
    place, repository, _ = _search(reference, access or Access())
    return place.reference, repository.transport.access


def _search(
    reference: RegistryReference, access: Access
) -> tuple[PullPlace, Repository, RemoteManifest | None]:
    *mirrors, last = pull_places(reference, registry_tables(os.environ))
    for place in mirrors:
        own = _own_access(access, place, reference)
        once = replace(own, attempts=_ATTEMPTS_AT_MIRRORS)
        try:
            found = get_manifest(_repository(place, once), place.reference.manifest)
        except (RegistryError, ToolError) as error:
            log.info("the next place is asked for %s, because of its mirror: %s", reference, error)
            continue
        if found is not None:
            return place, _repository(place, own), found
    return last, _repository(last, _own_access(access, last, reference)), None


def access_to(name: RegistryReference | RegistryName, access: Access | None = None) -> Access:
    """Return how to reach the registry that a name states, which may be configured as insecure."""
    access = access or Access()
    table = _table_of(str(name), registry_tables(os.environ))
    return replace(access, insecure=True) if table is not None and table.insecure else access


def pull_places(reference: RegistryReference, tables: Sequence[RegistryTable]) -> list[PullPlace]:
    """Return the places of an image in the order in which they are asked.

    Raise InputError if the image is blocked, or if a place is not a valid name of an image.
    """
    table = _table_of(str(reference), tables)
    if table is None:
        return [PullPlace(reference)]
    if table.blocked:
        raise InputError(f"{table.file} blocks {table.prefix}, and so {reference}", path=table.file)
    return [*_places(reference, table)]


def _places(reference: RegistryReference, table: RegistryTable) -> Iterator[PullPlace]:
    for mirror in table.mirrors:
        if mirror.by_digest if reference.digest else mirror.by_tag:
            yield PullPlace(_moved(reference, table, mirror.location), mirror.insecure)
    yield PullPlace(_moved(reference, table, table.location), table.insecure)


def _moved(reference: RegistryReference, table: RegistryTable, location: str) -> RegistryReference:
    """Return the reference with the location in place of the table's prefix."""
    if not location:
        return reference
    host = location.partition("/")[0]
    if not ("." in host or ":" in host or host == "localhost"):
        # It would be read as the name of an image of Docker Hub.
        raise InputError(
            f"{table.file}: the location {location} does not begin with the host of a registry",
            path=table.file,
        )
    name = str(reference)
    try:
        return RegistryReference.parse(location + name[table.matched(name) :])
    except InputError as error:
        raise InputError(f"{table.file}: {error}", path=table.file) from None


def _table_of(name: str, tables: Sequence[RegistryTable]) -> RegistryTable | None:
    """Return the table with the longest prefix of those that match."""
    found = [table for table in tables if table.matched(name)]
    return max(found, key=lambda table: len(table.prefix), default=None)


def _own_access(access: Access, place: PullPlace, named: RegistryReference) -> Access:
    """Return how to reach a place: what was chosen for the named host is not for other ones."""
    if place.reference.host != named.host:
        access = access.elsewhere or replace(access, credentials=None)
    return replace(access, insecure=True) if place.insecure else access


def _repository(place: PullPlace, access: Access) -> Repository:
    return Repository(Transport(place.reference.host, access), place.reference.repository)
