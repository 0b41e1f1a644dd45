"""The places from which an image can be pulled: mirrors, and the registry that its name states."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from nixdock.errors import InputError, RegistryError
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.access import Access
from nixdock.registry.credentials import find_credentials
from nixdock.registry.manifests import RemoteManifest, existing_manifest, get_manifest
from nixdock.registry.registries_conf import RegistryTable, registry_tables
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport

__all__ = ["PullPlace", "access_to", "find_image", "pull_places"]

log = logging.getLogger(__name__)

# The next place is at hand.
_ATTEMPTS_AT_MIRRORS: Final = 1


@dataclass(frozen=True, slots=True)
class PullPlace:
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
    access = access or Access()
    *mirrors, last = pull_places(reference, registry_tables(os.environ))
    for place in mirrors:
        own = _own_access(access, place, reference)
        once = replace(own, attempts=_ATTEMPTS_AT_MIRRORS)
        try:
            found = get_manifest(_repository(place, once), place.reference.manifest)
        except RegistryError as error:
            log.info("the next place is asked for %s, because of its mirror: %s", reference, error)
            continue
        if found is not None:
            return _repository(place, own), found
    repository = _repository(last, _own_access(access, last, reference))
    return repository, existing_manifest(repository, last.reference)


def access_to(reference: RegistryReference, access: Access | None = None) -> Access:
    """Return how to reach the registry that a name states, which may be configured as insecure."""
    access = access or Access()
    table = _table_of(reference, registry_tables(os.environ))
    return replace(access, insecure=True) if table is not None and table.insecure else access


def pull_places(reference: RegistryReference, tables: Sequence[RegistryTable]) -> list[PullPlace]:
    """Return the places of an image in the order in which they are asked.

    Raise InputError if the image is blocked, or if a place is not a valid name of an image.
    """
    table = _table_of(reference, tables)
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
    name = str(reference)
    try:
        return RegistryReference.parse(location + name[table.matched(name) :])
    except InputError as error:
        raise InputError(f"{table.file}: {error}", path=table.file) from None


def _table_of(
    reference: RegistryReference, tables: Sequence[RegistryTable]
) -> RegistryTable | None:
    """Return the table with the longest match."""
    name = str(reference)
    found = max(tables, key=lambda table: table.matched(name), default=None)
    return found if found is not None and found.matched(name) else None


def _own_access(access: Access, place: PullPlace, named: RegistryReference) -> Access:
    """Return how to reach a place: other hosts than the named one get stored credentials alone."""
    if place.reference.host != named.host:
        access = replace(access, credentials=None, find=find_credentials)
    return replace(access, insecure=True) if place.insecure else access


def _repository(place: PullPlace, access: Access) -> Repository:
    return Repository(Transport(place.reference.host, access), place.reference.repository)
