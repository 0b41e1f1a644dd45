"""The images that a layout keeps when another one is added to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from nixdock.errors import ImageError, OutputError
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.layout import INDEX
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json
from nixdock.read.directory import Directory
from nixdock.read.members import read_whole
from nixdock.transfer.file_content import FileContent
from nixdock.transfer.names import annotations_of
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import parse_index, parse_manifest

__all__ = ["kept_images"]


def kept_images(earlier: Path, content: FileContent) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the entries of a layout's index that `content` does not replace, and their blobs.

    Raise OutputError if that can't be told.
    """
    members = Directory(earlier)
    source = LayoutSource(members, str(earlier))
    try:
        data = read_whole(members, INDEX, MOST_JSON)
        documents = converted(parse_json(data), IndexDocument).manifests
        entries: list[dict[str, Any]] = orjson.loads(data)["manifests"]
        digests: set[str] = set()
        kept = []
        for entry, document in zip(entries, documents, strict=True):
            if not _is_replaced(document, content):
                kept.append(entry)
                digests |= _digests_below(source, document)
    except ImageError as error:
        index = earlier / INDEX
        message = f"{index} can't be extended: {error}; name another directory"
        raise OutputError(message, path=index) from None
    return kept, digests


def _is_replaced(entry: DescriptorDocument, content: FileContent) -> bool:
    names: Mapping[str, str] = entry.annotations or {}
    new = [annotations_of(name) for name in content.names]
    same_name = any(names.get(key) == value for each in new for key, value in each.items())
    written = {content.root.digest, *(each.manifest.digest for each in content.attachments)}
    unnamed = not (names and new) and entry.digest in written
    return same_name or unnamed


def _digests_below(source: LayoutSource, descriptor: DescriptorDocument) -> set[str]:
    """Return the digests of a blob and of all to which it refers, as far as they are there."""
    digest = check_digest(descriptor.digest)
    if not source.has(digest):
        return set()
    below: list[DescriptorDocument] = []
    if descriptor.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
        manifest = source.manifest(descriptor)
        index = parse_index(manifest)
        if index is None:
            document = parse_manifest(manifest)
            below = [document.config, *document.layers]
        else:
            below = index.manifests
    return {digest}.union(*(_digests_below(source, each) for each in below))
