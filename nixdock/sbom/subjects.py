"""What a bill of materials describes: its name and time, from a closure, a spec or an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nixdock.errors import InputError
from nixdock.oci.location import Location
from nixdock.oci.registry_reference import RegistryReference
from nixdock.sbom.bill import Package, Subject, SubjectKind
from nixdock.spec.times import parse_time, rfc3339, source_date_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nixdock.read.stored import StoredImage
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["subject_of_closure", "subject_of_image", "subject_of_spec"]

_UNNAMED: Final = "image"


def subject_of_closure(tops: Sequence[Package]) -> Subject:
    """Return the subject of a closure, which is named after its root if it has only one."""
    created = rfc3339(source_date_epoch())
    if len(tops) == 1:
        return Subject(SubjectKind.CLOSURE, tops[0].name, tops[0].version, created)
    return Subject(SubjectKind.CLOSURE, "closure", "", created)


def subject_of_spec(spec: ImageSpec) -> Subject:
    """Return the subject of a spec: the image that it describes, whose digests are not known."""
    epoch = spec.source_date_epoch
    created = source_date_epoch() if epoch is None else epoch
    reference = spec.references[0]
    return Subject(
        SubjectKind.IMAGE,
        reference.repository,
        reference.tag,
        _created(spec.created, created),
        architecture=spec.architecture,
    )


def subject_of_image(image: StoredImage, location: Location) -> Subject:
    """Return the subject of an image; its first name counts, or its location in a registry."""
    name, version, repository = _UNNAMED, "", None
    if isinstance(location, RegistryReference):
        name, version, repository = location.repository, location.tag or "", location.name
    elif image.names:
        head, colon, tag = image.names[0].rpartition(":")
        if colon and "/" not in tag:
            # Both formats want a name, and an image may have an empty one.
            name, version = head or _UNNAMED, tag
            host, slash, _ = head.partition("/")
            repository = head if slash and ("." in host or ":" in host) else None
        else:
            # In a layout, the name of an image is often only its tag.
            version = image.names[0]
    return Subject(
        SubjectKind.IMAGE,
        name,
        version,
        _created(image.config.created, source_date_epoch()),
        image.digest,
        image.config_digest,
        repository,
        image.platform.architecture,
    )


def _created(text: str | None, otherwise: int) -> str:
    """Return the time of an image; `now`, and times before 1970, are not times of the image."""
    if not text or text == "now":
        return rfc3339(otherwise)
    try:
        return rfc3339(parse_time(text))
    except InputError:
        return rfc3339(otherwise)
