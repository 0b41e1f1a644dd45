"""Descriptors, and the small blobs that they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct, field

from nixdock.oci.digests import sha256_digest

__all__ = ["Blob", "Descriptor", "Platform", "canonical_json", "without_none"]


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no white space: equal values have equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def without_none(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` without the keys whose value is None."""
    return {key: value for key, value in document.items() if value is not None}


class Platform(Struct, frozen=True):
    """The platform that an image runs on; architecture and OS have Go's names (GOARCH, GOOS).

    `os_version` is that of Windows, on which its images depend.
    """

    architecture: str = "amd64"
    os: str = "linux"
    variant: str | None = None
    os_version: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return without_none(
            {
                "architecture": self.architecture,
                "os": self.os,
                "variant": self.variant,
                "os.version": self.os_version,
            }
        )


class Descriptor(Struct, frozen=True):
    """A reference to a blob: its media type, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return without_none(
            {
                "mediaType": self.media_type,
                "digest": self.digest,
                "size": self.size,
                "annotations": dict(self.annotations) or None,
                "platform": self.platform and self.platform.document(),
            }
        )


class Blob(Struct, frozen=True):
    """A small blob in memory: a config or a manifest."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """The digest of the data."""
        return sha256_digest(self.data)

    def descriptor(
        self, annotations: Mapping[str, str] | None = None, platform: Platform | None = None
    ) -> Descriptor:
        """Return the descriptor that refers to the blob."""
        return Descriptor(self.media_type, self.digest, len(self.data), annotations or {}, platform)
