"""The signatures of a manifest in cosign's first layout: an image whose layers are the payloads.

Its tag follows from the digest of the manifest, and annotations of the layers have the signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import ImageError
from nixdock.oci.descriptor import Blob, canonical_json
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import ConfigDocument, DescriptorDocument, ManifestDocument
from nixdock.oci.media_types import CONFIG_MEDIA_TYPE, MANIFEST_MEDIA_TYPE
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.signing.encoding import base64_bytes, base64_text
from nixdock.signing.simple_signing import SIMPLE_SIGNING

__all__ = ["Entry", "SignatureList", "signature_tag"]

_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
# Go's time for "never", which cosign writes, too.
_NEVER: Final = "0001-01-01T00:00:00Z"
_MOST_ENTRIES: Final = 1000


def signature_tag(digest: str) -> str:
    """Return the tag of the signatures of the manifest with that digest."""
    return f"{digest.replace(':', '-')}.sig"


class Entry(Struct, frozen=True):
    """A signature: the digest and the size of its payload, and the signature in DER."""

    digest: str
    size: int
    signature: bytes


class SignatureList(Struct, frozen=True):
    """The documents of the image with the signatures, with all that others have written there."""

    manifest: Mapping[str, Any]
    config: Mapping[str, Any]

    @classmethod
    def empty(cls) -> SignatureList:
        """Return the list without a signature."""
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "layers": []}
        config = {
            "architecture": "",
            "config": {},
            "created": _NEVER,
            "history": [],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        return cls(manifest, config)

    @classmethod
    def parse(cls, manifest: bytes) -> SignatureList:
        """Return the list in a manifest, without its config; raise ImageError if it is none."""
        document = parse_json(manifest)
        converted(document, ManifestDocument)
        return cls(document, {})

    def with_config(self, config: bytes) -> SignatureList:
        """Return the list with its config, as adding signatures needs it.

        Raise ImageError if that is malformed.
        """
        document = parse_json(config, "the config of the list of signatures")
        converted(document, ConfigDocument, "the config of the list of signatures")
        return replace(self, config=document)

    @property
    def config_descriptor(self) -> tuple[str, int]:
        """The digest and the size of the config; raise ImageError if there is none."""
        config = converted(self.manifest, ManifestDocument).config
        return check_digest(config.digest), config.size

    def entries(self) -> list[Entry]:
        """Return the signatures, leaving out what is none; raise ImageError if there are too many.

        Nothing about them has been verified.
        """
        layers = converted(self.manifest["layers"] or [], list[DescriptorDocument])
        if len(layers) > _MOST_ENTRIES:
            raise ImageError(
                f"the manifest lists {len(layers)} signatures, but may have {_MOST_ENTRIES}"
            )
        found = []
        for layer in layers:
            text = (layer.annotations or {}).get(_SIGNATURE)
            if layer.media_type != SIMPLE_SIGNING or text is None:
                continue
            try:
                entry = Entry(check_digest(layer.digest), layer.size, base64_bytes(text))
            except (ImageError, ValueError):
                continue
            found.append(entry)
        return found

    def with_signature(self, payload: bytes, signature: bytes) -> tuple[Blob, Blob]:
        """Return the manifest and the config of the list with one signature more."""
        layer = Blob(SIMPLE_SIGNING, payload).descriptor({_SIGNATURE: base64_text(signature)})
        rootfs = self.config.get("rootfs") or {"type": "layers"}
        diff_ids = [*(rootfs.get("diff_ids") or []), layer.digest]
        history = [*(self.config.get("history") or []), {"created": _NEVER}]
        config = Blob(
            CONFIG_MEDIA_TYPE,
            canonical_json(
                {**self.config, "rootfs": {**rootfs, "diff_ids": diff_ids}, "history": history}
            ),
        )
        manifest = {
            **self.manifest,
            "config": config.descriptor().document(),
            "layers": [*(self.manifest["layers"] or []), layer.document()],
        }
        media_type = self.manifest.get("mediaType", MANIFEST_MEDIA_TYPE)
        return Blob(media_type, canonical_json(manifest)), config
