"""Manifests that refer to an image, such as signatures (distribution-spec, "Listing Referrers").

Some registries list the referrers of a manifest themselves. In the others, clients keep the lists:
indexes whose tags follow from the digests of the subjects ("Referrers Tag Schema").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from nixdock.errors import ImageError, RegistryError
from nixdock.network.body import Body
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, canonical_json
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.media_types import INDEX_MEDIA_TYPE, INDEX_MEDIA_TYPES
from nixdock.oci.referrers import referrer_entry, referrer_of, referrers_tag
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.registry.blobs import has_blob, upload_blob
from nixdock.registry.manifests import (
    get_manifest,
    manifest_digest,
    put_manifest,
)
from nixdock.registry.pages import Page, read_pages
from nixdock.registry.repository import Repository
from nixdock.registry.request import Request
from nixdock.registry.shared_tags import add_to_tag, lacks_something

__all__ = ["list_referrers", "put_referrers"]

# What registries answer that list no referrers.
_NO_LISTS: Final = frozenset({400, 404, 405, 406, 501})
_EMPTY_LIST: Final[Mapping[str, Any]] = {
    "schemaVersion": 2,
    "mediaType": INDEX_MEDIA_TYPE,
    "manifests": [],
}


def list_referrers(
    repository: Repository, digest: str, artifact_type: str | None = None
) -> list[DescriptorDocument]:
    """Return the descriptors of the manifests that refer to the one with that digest, each once.

    With `artifact_type`, only those of that type. A list is what the registry, or another client,
    says: that a manifest has this subject has not been verified. Raise RegistryError if the
    registry can't be asked, or if its list is malformed.
    """
    found = _listed_by_registry(repository, digest, artifact_type)
    if found is None:
        found = _of_type(_entries(repository, digest, _tagged(repository, digest)), artifact_type)
    return [*{each.digest: each for each in found}.values()]


def _listed_by_registry(
    repository: Repository, digest: str, artifact_type: str | None
) -> list[DescriptorDocument] | None:
    """Return what the registry lists, or None if it lists no referrers."""
    path = repository.path("referrers", digest)
    if artifact_type is not None:
        path += f"?artifactType={quote(artifact_type, safe='')}"
    found: list[DescriptorDocument] | None = None
    request = Request(
        "GET",
        path,
        repository.pulling(),
        headers={"Accept": INDEX_MEDIA_TYPE},
        expected=(200, *_NO_LISTS),
        subject=_subject(digest),
    )
    for page in read_pages(repository, request):
        if page.status != 200 or not _is_list(page):
            # Some servers have a web page at every path.
            if found is None:
                return None
            raise _wrong(repository, digest, "it breaks off")
        entries = _entries(repository, digest, page.data)
        filters = page.headers.get("OCI-Filters-Applied", "").split(",")
        if "artifactType" not in map(str.strip, filters):
            entries = _of_type(entries, artifact_type)
        found = [*(found or []), *entries]
    return found


def _is_list(page: Page) -> bool:
    media_type = page.headers.get("Content-Type", "").partition(";")[0]
    return media_type.strip() == INDEX_MEDIA_TYPE


def _entries(repository: Repository, digest: str, data: bytes | None) -> list[DescriptorDocument]:
    if data is None:
        return []
    try:
        entries = converted(parse_json(data), IndexDocument).manifests
        for each in entries:
            check_digest(each.digest)
    except ImageError as error:
        raise _wrong(repository, digest, str(error)) from None
    return entries


def _of_type(
    entries: Iterable[DescriptorDocument], artifact_type: str | None
) -> list[DescriptorDocument]:
    return [each for each in entries if artifact_type in {None, each.artifact_type}]


def _tagged(repository: Repository, digest: str) -> bytes | None:
    """Return the list that clients keep, or None if there is none."""
    found = get_manifest(repository, referrers_tag(digest))
    # GitLab's registry takes the tag for the digest.
    if found is None or found.digest == digest:
        return None
    if found.media_type not in INDEX_MEDIA_TYPES:
        tag = repository.reference(referrers_tag(digest))
        raise _wrong(repository, digest, f"{tag} is an image, and no list of referrers")
    return found.data


def put_referrers(repository: Repository, attachments: Sequence[Attachment]) -> int:
    """Store attachments, which may belong to several manifests, and return how many bytes it took.

    For each, blobs go first, then the manifest; then it is listed. What is listed already is not
    sent, and neither are blobs that an attachment leaves out, because they are there. Raise
    RegistryError if the registry refuses, or if others write the same list again and again.
    """
    sent = 0
    subjects: dict[str, list[Attachment]] = {}
    for each in attachments:
        subjects.setdefault(_subject_digest(each.manifest), []).append(each)
    for digest, those in subjects.items():
        listed = {each.digest for each in list_referrers(repository, digest)}
        unlisted = []
        for each in those:
            if each.manifest.digest in listed and _has(repository, each.manifest.digest):
                continue
            for blob in each.blobs:
                if not has_blob(repository, blob.digest):
                    upload_blob(repository, blob.digest, Body.of(blob.data))
                    sent += len(blob.data)
            sent += len(each.manifest.data)
            if put_manifest(repository, each.manifest.digest, each.manifest) is None:
                unlisted.append(each.manifest)
        if unlisted:
            sent += _list_in_tag(repository, digest, unlisted)
    return sent


def _subject_digest(manifest: Blob) -> str:
    subject = referrer_of(manifest).subject
    if subject is None:
        raise ImageError(f"{manifest.digest} has no subject: it refers to no image")
    return check_digest(subject.digest)


def _has(repository: Repository, digest: str) -> bool:
    return manifest_digest(repository, digest) is not None


def _list_in_tag(repository: Repository, digest: str, manifests: Sequence[Blob]) -> int:
    """Add manifests to the list that clients keep, and return the bytes that were sent."""
    new = [referrer_entry(each) for each in manifests]

    def read() -> _TaggedList:
        data = _tagged(repository, digest)
        listed = {each.digest for each in _entries(repository, digest, data)}
        return _TaggedList(repository, data, [each for each in new if each["digest"] not in listed])

    def lasting_failure(why: str) -> RegistryError:
        return _wrong(repository, digest, f"it still lacks {new[0]['digest']} {why}")

    return add_to_tag(repository, referrers_tag(digest), read, lasting_failure) or 0


class _TaggedList(Struct, frozen=True):
    """The list that clients keep, if there is one, and the entries that it lacks."""

    repository: Repository
    data: bytes | None
    missing: Sequence[Mapping[str, Any]]

    @property
    def is_complete(self) -> bool:
        return not self.missing

    def extended(self, refusal: RegistryError | None) -> Blob | None:
        """Return it with the entries; whatever else it has stays, unless a registry refused that.

        Some registries want that the manifests of all entries are there.
        """
        document = dict(_EMPTY_LIST if self.data is None else parse_json(self.data))
        document["manifests"] = [*(document["manifests"] or []), *self.missing]
        if refusal is not None and lacks_something(refusal):
            kept = [each for each in document["manifests"] if _has(self.repository, each["digest"])]
            if not any(each in kept for each in self.missing):
                return None
            document["manifests"] = kept
        media_type = document.get("mediaType", INDEX_MEDIA_TYPE)
        return Blob(media_type, canonical_json(document))


def _subject(digest: str) -> str:
    return f"the list of referrers of {digest}"


def _wrong(repository: Repository, digest: str, message: str) -> RegistryError:
    return RegistryError(
        f"{repository.place}: {_subject(digest)}: {message}",
        place=repository.place,
        digest=digest,
        # There was an answer, which is what is wrong.
        status=200,
    )
