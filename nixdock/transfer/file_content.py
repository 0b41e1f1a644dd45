"""What an image file is written from: documents in memory, and blobs in files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from nixdock.coding.codings import MAGIC_SIZE
from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, Descriptor, Platform, canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.layout import BLOBS, INDEX, MARKER, MARKER_DATA
from nixdock.oci.media_types import INDEX_MEDIA_TYPE, INDEX_MEDIA_TYPES
from nixdock.oci.referrers import referrer_entry
from nixdock.read.members import Members, missing_error
from nixdock.system.file_range import Range
from nixdock.system.readers import BytesReader
from nixdock.transfer.names import annotations_of
from nixdock.transfer.platforms import platform_of
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import parse_manifest

__all__ = ["FileContent", "blob_name"]


def blob_name(digest: str) -> str:
    """Return the name of a blob's file in a layout."""
    return f"{BLOBS}/{hex_of(digest)}"


class FileContent(Struct):
    """An image or an index of images as the `Members` of an OCI layout.

    `manifests` are all manifests and indexes by their digests, the one that `index.json` lists
    last, and `names` are its names. `files` are the blobs. `attachments` are what refers to it.
    """

    manifests: dict[str, Blob] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)

    @property
    def root(self) -> Blob:
        """The manifest or index that `index.json` lists."""
        return list(self.manifests.values())[-1]

    def entries(self) -> list[dict[str, Any]]:
        """Return the descriptors in `index.json`: one for each name, and those of attachments."""
        annotations: list[Mapping[str, str]] = [annotations_of(name) for name in self.names]
        root, platform = self.root, self._platform()
        return [
            Descriptor(root.media_type, root.digest, len(root.data), each, platform).document()
            for each in annotations or [{}]
        ] + [referrer_entry(each.manifest) for each in self.attachments]

    def _platform(self) -> Platform | None:
        """Return the platform of an image, as nixdock's own archives state it."""
        if self.root.media_type in INDEX_MEDIA_TYPES:
            return None
        return platform_of(LayoutSource(_ContentMembers({}, self.blobs()), "the image"), self.root)

    def index(self, earlier: Mapping[str, Any] | None = None) -> bytes:
        """Return `index.json`, with all that an `earlier` one says, whose images come first."""
        kept = dict(earlier or {})
        entries = [*kept.get("manifests", []), *self.entries()]
        index = {"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, **kept, "manifests": entries}
        return canonical_json(index)

    def documents(self) -> dict[str, bytes]:
        """Return the layout's documents by their names."""
        return {
            MARKER: MARKER_DATA,
            INDEX: self.index(),
            **{blob_name(each.digest): each.data for each in self.manifests.values()},
            **{
                blob_name(blob.digest): blob.data
                for each in self.attachments
                for blob in (each.manifest, *each.blobs)
            },
        }

    def blobs(self) -> dict[str, Path]:
        """Return the files of the blobs by their names in the layout.

        Their order is that in the manifests, each config first, and not that of their arrival.
        """
        documents = [
            parse_manifest(manifest)
            for manifest in self.manifests.values()
            if manifest.media_type not in INDEX_MEDIA_TYPES
        ]
        digests = (
            blob.digest for document in documents for blob in (document.config, *document.layers)
        )
        return {blob_name(digest): self.files[digest] for digest in digests}

    def members(self) -> Members:
        """Return the content as the files of a layout."""
        return _ContentMembers(self.documents(), self.blobs())


class _ContentMembers:
    def __init__(self, documents: Mapping[str, bytes], blobs: Mapping[str, Path]) -> None:
        self._documents = documents
        self._blobs = blobs

    def __contains__(self, name: str) -> bool:
        return name in self._documents or name in self._blobs

    def __iter__(self) -> Iterator[str]:
        return iter([*self._documents, *self._blobs])

    def same(self, name: str) -> str:
        return name

    def size(self, name: str) -> int:
        if name in self._documents:
            return len(self._documents[name])
        return self._file(name).stat().st_size

    def start(self, name: str) -> bytes:
        with self.open(name) as stream:
            return stream.read(MAGIC_SIZE) or b""

    def open(self, name: str) -> io.RawIOBase:
        if name in self._documents:
            return BytesReader(self._documents[name])
        return self.open_range(name)

    def open_range(self, name: str) -> Range:
        file = self._file(name)
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"can't read {file}: {error.strerror}", path=file) from None
        return Range(descriptor, 0, os.fstat(descriptor).st_size, owner=True)

    def close(self) -> None:
        """Do nothing: each file has its own descriptor."""

    def _file(self, name: str) -> Path:
        if name not in self._blobs:
            raise missing_error(name)
        return self._blobs[name]


if TYPE_CHECKING:
    # Let mypy check that the class provides the interface.
    _MEMBERS: type[Members] = _ContentMembers
