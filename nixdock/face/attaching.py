"""What is attached to images: bills of materials, statements, and any other files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from nixdock.attach.subject import Attached, Referrer
    from nixdock.oci.location import Place
    from nixdock.registry.access import Access

__all__ = ["attach_artifact", "attach_sbom", "list_referrers", "read_referrer"]


def attach_artifact(
    place: Place,
    content: bytes,
    artifact_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    title: str | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> Attached:
    """Attach `content` to the image or index at a place, as a manifest that refers to it.

    The place is in a registry or an OCI layout in a directory. `artifact_type` is a media type, and
    `title` the name that a file with the content should have. Of an index, `platform` selects an
    image. What is attached already is not attached again. Raise InputError if an argument is
    malformed, or if nothing can be attached there; ImageError if the image is damaged;
    RegistryError if a registry refuses; and OutputError if the layout can't be written.
    """
    from nixdock.attach.subject import attached_to, open_subject
    from nixdock.oci.attachment import attach_content, check_artifact_type
    from nixdock.oci.descriptor import Blob
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform

    blob = Blob(check_artifact_type(artifact_type), content)
    wanted = wanted_platform(platform)
    with open_subject(location_of(place), wanted, access, attaching=True) as subject:
        attachment = attach_content(subject.manifest.descriptor(), blob, annotations, title=title)
        return attached_to(subject, attachment)


def attach_sbom(
    place: Place,
    form: str,
    *,
    meta: str | os.PathLike[str] | None = None,
    annotations: Mapping[str, str] | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> Attached:
    """Attach the bill of materials of an image to it; see `list_packages` and `attach_artifact`.

    `form` is `spdx` or `cyclonedx`. Raise what these functions raise, and InputError if there is an
    index and no `platform`.
    """
    from nixdock.attach.subject import attached_to, open_subject
    from nixdock.errors import InputError
    from nixdock.face.materials import list_packages, sbom_attachment
    from nixdock.oci.location import location_of
    from nixdock.oci.media_types import INDEX_MEDIA_TYPES
    from nixdock.oci.platforms import wanted_platform

    location = location_of(place)
    with open_subject(location, wanted_platform(platform), access, attaching=True) as subject:
        if subject.manifest.media_type in INDEX_MEDIA_TYPES:
            raise InputError(
                f"{subject.place} is an index; a bill of materials is of one image: choose its"
                " platform"
            )
        # Not of what a tag may stand for meanwhile.
        bill = list_packages(subject.exact(location), meta=meta, platform=platform, access=access)
        attachment = sbom_attachment(subject.manifest.descriptor(), bill, form, annotations)
        return attached_to(subject, attachment)


def list_referrers(
    place: Place,
    *,
    artifact_type: str | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> tuple[str, list[Referrer]]:
    """Return the digest of the image or index at a place, and what refers to it.

    With `artifact_type`, only what is of that type. The place is in a registry, or an OCI layout in
    a directory or an archive. `platform` selects an image of an index. Raise InputError if there is
    no such image, ImageError if it is damaged, and RegistryError if the registry can't be asked.
    """
    from nixdock.attach.subject import open_subject
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform

    with open_subject(location_of(place), wanted_platform(platform), access) as subject:
        return subject.manifest.digest, subject.referrers(artifact_type)


def read_referrer(
    place: Place,
    *,
    artifact_type: str | None = None,
    digest: str | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> bytes:
    """Return the content of the only thing that is attached to an image, with that type or digest.

    It is verified against its digest, but whoever may write to the place may have attached it.
    Raise InputError if there are none or several, and ImageError if it is damaged; else what
    `list_referrers` raises.
    """
    from nixdock.attach.subject import only_referrer, open_subject, read_content
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform

    with open_subject(location_of(place), wanted_platform(platform), access) as subject:
        referrer = only_referrer(subject, artifact_type, digest)
        return read_content(subject, referrer)
