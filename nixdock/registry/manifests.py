"""Manifests and tags of a repository (distribution-spec, "Pulling manifests" and the like)."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from nixdock.errors import ImageError, RegistryError
from nixdock.network.body import Body
from nixdock.network.retrying import Patience
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import sha256_digest
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.registry_reference import RegistryReference
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json
from nixdock.registry.asking_again import asked_again
from nixdock.registry.pages import read_pages
from nixdock.registry.repository import Repository
from nixdock.registry.request import NO_HEAD, Request
from nixdock.system.text import shown

__all__ = [
    "RemoteManifest",
    "existing_manifest",
    "get_manifest",
    "is_blob_unknown",
    "list_tags",
    "manifest_digest",
    "put_manifest",
]

_TYPES: Final = (*sorted(MANIFEST_MEDIA_TYPES), *sorted(INDEX_MEDIA_TYPES))
# Some registries take several headers, some only one: one is what all understand.
_ACCEPT: Final = {"Accept": ", ".join(_TYPES)}
_BLOB_UNKNOWN: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_MOST_PUTS: Final = 3


class RemoteManifest(Struct, frozen=True):
    """A manifest or an index, exactly as the registry sends it."""

    media_type: str
    digest: str
    data: bytes


class _TypedDocument(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str | None = None


class _TagList(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


def get_manifest(repository: Repository, name: str) -> RemoteManifest | None:
    """Return the manifest or index with that tag or digest, or None if there is none.

    Raise RegistryError if the registry can't be asked, or if what it sends is not what was asked
    for, also when it is asked again: another digest, or another type than it says.
    """
    try:
        return asked_again(repository.transport, lambda: _got_manifest(repository, name))
    except ImageError as error:
        raise _wrong(repository, name, str(error), error.digest) from None


def _got_manifest(repository: Repository, name: str) -> RemoteManifest | None:
    with repository.transport.send(_asking("GET", repository, name)) as response:
        if response.status == 404:
            return None
        data = response.whole(MOST_JSON)
        declared = response.headers.get("Content-Type", "").partition(";")[0].strip()
        stated = response.headers.get("Docker-Content-Digest")
        coding = response.headers.get("Content-Encoding", "identity")
    digest = sha256_digest(data)
    expected = name if ":" in name else stated
    if expected is not None and expected.startswith("sha256:") and digest != expected:
        message = f"the digest of what the registry sends is {digest}"
        if coding != "identity":
            message += (
                f"; it, or a proxy before it, sends the Content-Encoding {shown(coding)}, for which"
                " nobody asked, and which has to be turned off there"
            )
        raise ImageError(message, digest=digest)
    return RemoteManifest(_media_type(repository, name, declared, data), digest, data)


def _media_type(repository: Repository, name: str, declared: str, data: bytes) -> str:
    try:
        own = converted(parse_json(data), _TypedDocument).media_type
    except ImageError as error:
        raise _wrong(repository, name, str(error)) from None
    # Registries without the type, or with a general one, are not wrong.
    if declared not in _TYPES:
        declared = own or declared
    if own is not None and own != declared:
        raise _wrong(repository, name, f"the registry says {declared!r}, the document {own!r}")
    if declared not in _TYPES:
        message = f"its media type {declared!r} is not that of an image or an index of images"
        raise _wrong(repository, name, message)
    return declared


def existing_manifest(repository: Repository, reference: RegistryReference) -> RemoteManifest:
    """Return the manifest or index of an image; raise RegistryError if there is no such image."""
    manifest = get_manifest(repository, reference.manifest)
    if manifest is None:
        raise RegistryError(
            f"{reference.name} has no image {reference.manifest}; `nixdock tags {reference.name}`"
            " lists those it has",
            place=reference.name,
            digest=reference.digest,
            status=404,
        )
    return manifest


def manifest_digest(repository: Repository, name: str) -> str | None:
    """Return the digest that the registry states for a tag or digest, or None if it has none.

    Registries that limit pulls don't count this request.
    """
    with repository.transport.send(_asking("HEAD", repository, name, *NO_HEAD)) as response:
        if response.status == 200:
            return response.headers.get("Docker-Content-Digest") or ""
        if response.status == 404:
            return None
    found = get_manifest(repository, name)
    return None if found is None else found.digest


def _asking(method: str, repository: Repository, name: str, *others: int) -> Request:
    return Request(
        method,
        repository.path("manifests", name),
        repository.pulling(),
        headers=_ACCEPT,
        expected=(200, 404, *others),
        subject=f"the manifest {name}",
    )


def put_manifest(
    repository: Repository, name: str, manifest: Blob, *, retry: bool = True
) -> str | None:
    """Store a manifest or index under a tag or its digest; its blobs must be there.

    Return the digest of the subject that the registry has noticed: it lists the manifest among the
    subject's referrers. Without `retry`, it is sent once. Raise RegistryError, for which
    `is_blob_unknown` holds if a blob is missing.
    """
    patience = repository.transport.patience()
    for attempt in range(1, _MOST_PUTS + 1):
        try:
            return _put_manifest(repository, name, manifest, patience, retry=retry)
        except RegistryError as error:
            # A registry may not find a blob in the moment in which another client stores it again:
            # Distribution on a file system empties the blob's link before it writes it.
            is_passing = retry and attempt < _MOST_PUTS and is_blob_unknown(error)
            if not (is_passing and patience.lasts(error.after)):
                raise
    raise AssertionError


def is_blob_unknown(error: RegistryError) -> bool:
    """Tell whether a registry refused a manifest because it lacks one of its blobs."""
    return not _BLOB_UNKNOWN.isdisjoint(error.codes)


def _put_manifest(
    repository: Repository, name: str, manifest: Blob, patience: Patience, *, retry: bool
) -> str | None:
    request = Request(
        "PUT",
        repository.path("manifests", name),
        repository.pushing(),
        headers={"Content-Type": manifest.media_type},
        body=Body.of(manifest.data),
        # Registries disagree on which of the three it is.
        expected=(200, 201, 202),
        subject=f"the manifest {name}",
        retry=retry,
        once=not retry,
    )
    with repository.transport.send(request, patience) as response:
        stated = response.headers.get("Docker-Content-Digest")
        subject = response.headers.get("OCI-Subject")
    if stated and stated.startswith("sha256:") and stated != manifest.digest:
        message = f"the registry stored {stated} in place of {manifest.digest}"
        raise _wrong(repository, name, message, stated)
    return subject


def list_tags(repository: Repository) -> list[str]:
    """Return the tags of a repository, sorted; raise RegistryError if there is no repository."""
    tags: set[str] = set()
    path = repository.path("tags", "list")
    request = Request("GET", path, repository.pulling(), subject="the list of tags")
    for page in read_pages(repository, request):
        try:
            tags.update(converted(parse_json(page.data), _TagList).tags or [])
        except ImageError as error:
            raise _wrong(repository, "tags/list", str(error)) from None
    return sorted(tags)


def _wrong(
    repository: Repository, name: str, message: str, digest: str | None = None
) -> RegistryError:
    return RegistryError(
        f"{repository.reference(name) if name != 'tags/list' else repository.place}: {message}",
        place=repository.place,
        digest=digest,
        # There was an answer, which is what is wrong.
        status=200,
    )
