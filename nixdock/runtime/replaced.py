"""The config of the image that another one replaces in a runtime.

A runtime knows an image by the digest of its config, its manifest or its index. These documents
come from the runtime if it gives them out, or else from those of images that were loaded before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nixdock.errors import ImageError, NixdockError, ToolError
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import check_digest, sha256_digest
from nixdock.oci.documents import ConfigDocument, IndexDocument, ManifestDocument
from nixdock.oci.own_keys import MEMORY_KEY
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.runtime.document_cache import MOST_DOCUMENT, DocumentCache

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.reference import Reference
    from nixdock.runtime.catalogue import Offer
    from nixdock.runtime.runtime import Runtime

__all__ = ["keep_documents", "replaced_config"]

# An index, a manifest and a config; Docker puts an index into another one.
_MOST_DOCUMENTS: Final = 4


def replaced_config(
    runtime: Runtime, name: Reference, platform: Platform, cache: DocumentCache
) -> ConfigDocument | None:
    """Return the config of the image that has `name` in `runtime`; of an index, for `platform`.

    Return None if there is no such image, or if its config can't be had, or is damaged.
    """
    try:
        digest = runtime.identity_of(name)
        for _ in range(_MOST_DOCUMENTS):
            data = None if digest is None else _document(runtime, check_digest(digest), cache)
            if digest is None or data is None:
                return None
            value = parse_json(data, digest)
            # A config may have `config` as well: what containers get.
            if isinstance(value, dict) and "rootfs" in value:
                return converted(value, ConfigDocument, digest)
            digest = _next_digest(value, digest, platform)
    except (ToolError, ImageError):
        # Whatever is wrong with it, the new image takes its place.
        return None
    return None


def keep_documents(offer: Offer, runtime: Runtime, cache: DocumentCache) -> None:
    """Keep the manifest and config of an image with a memory, unless `runtime` gives them out.

    The runtime has the image; what can't be read is just not kept.
    """
    if offer.config is None or runtime.document(offer.manifest.digest) is not None:
        return
    blob = offer.blobs[offer.config]
    if blob.size > MOST_DOCUMENT:
        return
    try:
        with blob.open() as stream:
            config = Blob("", stream.read())
    except (NixdockError, OSError):
        return
    if MEMORY_KEY.encode() in config.data:
        cache.add([offer.manifest, config])


def _document(runtime: Runtime, digest: str, cache: DocumentCache) -> bytes | None:
    data = cache.find(digest)
    if data is None:
        data = runtime.document(digest)
    return None if data is None or sha256_digest(data) != digest else data


def _next_digest(value: Any, digest: str, platform: Platform) -> str | None:
    """Return the digest of a manifest's config, or that of an index's image for `platform`."""
    if isinstance(value, dict) and "manifests" in value:
        # Slow to load, and few images come from an index.
        from nixdock.oci.platforms import best_fitting  # noqa: PLC0415
        from nixdock.transfer.platforms import completed_platform  # noqa: PLC0415

        choices = [
            (completed_platform(each.platform, None), each.digest)
            for each in converted(value, IndexDocument, digest).manifests
        ]
        return next((child for _, child in best_fitting(choices, platform)), None)
    return converted(value, ManifestDocument, digest).config.digest
