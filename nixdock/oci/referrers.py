"""What the manifests of attachments, and of other artifacts, say of what they refer to."""

from __future__ import annotations

import re
from typing import Any, Final

from nixdock.oci.descriptor import Blob, Descriptor
from nixdock.oci.documents import ReferrerDocument
from nixdock.oci.untrusted_json import converted, parse_json

__all__ = ["referrer_entry", "referrer_of", "referrers_tag"]

_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)


def referrer_of(manifest: Blob) -> ReferrerDocument:
    """Return what a manifest says of its subject; raise ImageError if it is malformed."""
    name = f"the manifest {manifest.digest}"
    return converted(parse_json(manifest.data, name), ReferrerDocument, name)


def referrer_entry(manifest: Blob) -> dict[str, Any]:
    """Return the descriptor of a manifest in a list of referrers (distribution-spec).

    It states the type of the artifact, else that of the config, and all annotations. Raise
    ImageError if the manifest is malformed.
    """
    document = referrer_of(manifest)
    config_type = document.config.media_type if document.config is not None else ""
    entry = Descriptor(
        manifest.media_type, manifest.digest, len(manifest.data), document.annotations or {}
    ).document()
    return entry | {"artifactType": document.artifact_type or config_type}


def referrers_tag(digest: str) -> str:
    """Return the tag of the list of referrers in a registry that keeps none itself."""
    algorithm, _, encoded = digest.partition(":")
    return _NOT_IN_TAGS.sub("-", f"{algorithm[:32]}-{encoded[:64]}")
