"""Attachments: artifacts whose manifest names an image as its subject (image-spec, manifest.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.oci.descriptor import Blob, Descriptor, canonical_json
from nixdock.oci.media_types import EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE

__all__ = ["Attachment", "attach_content", "check_artifact_type"]

_EMPTY: Final = Blob(EMPTY_MEDIA_TYPE, b"{}")
_TITLE: Final = "org.opencontainers.image.title"
# RFC 6838, section 4.2.
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_TYPE: Final = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)


class Attachment(Struct, frozen=True):
    """A manifest that refers to an image, and its blobs: the config, and what is attached."""

    manifest: Blob
    blobs: tuple[Blob, ...]

    @property
    def content(self) -> Blob:
        """What is attached."""
        return self.blobs[-1]

    @property
    def artifact_type(self) -> str:
        """The type of what is attached."""
        from nixdock.oci.referrers import referrer_entry  # noqa: PLC0415 (few images need it)

        return str(referrer_entry(self.manifest)["artifactType"])

    def document(self) -> dict[str, Any]:
        """Return the JSON object; `size` is that of what is attached."""
        return {
            "digest": self.manifest.digest,
            "artifact_type": self.artifact_type,
            "size": len(self.content.data),
        }


def check_artifact_type(text: str) -> str:
    """Return `text`; raise InputError unless it is a media type without parameters."""
    if _TYPE.fullmatch(text):
        return text
    raise InputError(
        f"{text!r} is not a type of attachments: expected a media type, such as"
        " application/spdx+json"
    )


def attach_content(
    subject: Descriptor,
    content: Blob,
    annotations: Mapping[str, str] | None = None,
    *,
    artifact_type: str | None = None,
    title: str | None = None,
) -> Attachment:
    """Return the attachment with that content to the manifest or index `subject`.

    Its type is `artifact_type`, or else the media type of the content; `title` is the name that a
    file with the content should have. The same arguments give the same bytes.
    """
    layer = content.descriptor({} if title is None else {_TITLE: title})
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "artifactType": artifact_type or content.media_type,
        # With its data, so that nobody has to fetch it.
        "config": _EMPTY.descriptor().document() | {"data": "e30="},
        "layers": [layer.document()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).document(),
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return Attachment(Blob(MANIFEST_MEDIA_TYPE, canonical_json(document)), (_EMPTY, content))
