"""Attestations as BuildKit stores them: in an index with the image, for no platform.

https://docs.docker.com/build/metadata/attestations/attestation-storage/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, Descriptor, Platform, canonical_json
from nixdock.oci.media_types import CONFIG_MEDIA_TYPE, INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE

__all__ = [
    "ATTESTATION_OF",
    "ATTESTATION_TYPE",
    "PREDICATE_ANNOTATION",
    "attestation_of",
    "index_with_attestation",
]

ATTESTATION_TYPE: Final = "vnd.docker.reference.type"
"""The annotation by which BuildKit marks a manifest in an index that is about an image."""

ATTESTATION_OF: Final = "vnd.docker.reference.digest"
"""The annotation with the digest of the image that such a manifest is about."""

PREDICATE_ANNOTATION: Final = "in-toto.io/predicate-type"
"""The annotation that tells what a statement states."""

_ATTESTATION: Final = "attestation-manifest"
# Which nothing runs on.
_NO_PLATFORM: Final = Platform("unknown", "unknown")


def attestation_of(statements: Mapping[str, Blob]) -> Attachment:
    """Return the manifest with in-toto statements, by their predicate types, and its blobs."""
    config = Blob(
        CONFIG_MEDIA_TYPE,
        canonical_json(
            {
                **_NO_PLATFORM.document(),
                "config": {},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [blob.digest for blob in statements.values()],
                },
            }
        ),
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "config": config.descriptor().document(),
        "layers": [
            blob.descriptor({PREDICATE_ANNOTATION: kind}).document()
            for kind, blob in statements.items()
        ],
    }
    manifest = Blob(MANIFEST_MEDIA_TYPE, canonical_json(document))
    return Attachment(manifest, (config, *statements.values()))


def index_with_attestation(image: Descriptor, attestation: Attachment) -> Blob:
    """Return the index of an image and what is attested of it."""
    about = {ATTESTATION_TYPE: _ATTESTATION, ATTESTATION_OF: image.digest}
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_MEDIA_TYPE,
        "manifests": [
            image.document(),
            attestation.manifest.descriptor(about, _NO_PLATFORM).document(),
        ],
    }
    return Blob(INDEX_MEDIA_TYPE, canonical_json(document))
