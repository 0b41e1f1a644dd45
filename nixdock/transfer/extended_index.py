"""The index of a layout to which an image is added, and the blobs that it needs no longer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from nixdock.errors import ImageError, OutputError
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.layout import CONTAINERD_NAME, INDEX
from nixdock.oci.layout_names import entry_name, have_same_name
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json
from nixdock.read.directory import Directory
from nixdock.read.members import read_whole
from nixdock.system.text import shown
from nixdock.transfer.file_content import FileContent, blob_name
from nixdock.transfer.names import annotations_of
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import parse_index, parse_manifest

__all__ = ["ExtendedIndex", "extended_index"]

log = logging.getLogger(__name__)


class ExtendedIndex(Struct, frozen=True):
    """An index, and the names of the blobs that only images had which it lists no longer."""

    data: bytes
    unneeded: frozenset[str] = frozenset()


def extended_index(layout: Path, content: FileContent) -> ExtendedIndex:
    """Return the index of a layout after `content` was added; images with its names are replaced.

    Raise OutputError if that can't be told.
    """
    index = layout / INDEX
    if not os.path.lexists(index):
        return ExtendedIndex(content.index())
    try:
        members = Directory(layout)
        value = parse_json(read_whole(members, INDEX, MOST_JSON))
        entries = converted(value, IndexDocument).manifests
    except ImageError as error:
        message = f"{index} can't be extended: {error}; name another directory"
        raise OutputError(message, path=index) from None
    replaced = [_is_replaced(entry, content) for entry in entries]
    pairs = zip(value["manifests"] or [], replaced, strict=True)
    document = {**value, "manifests": [entry for entry, gone in pairs if not gone]}
    for entry, gone in zip(entries, replaced, strict=True):
        if gone and (name := _other_name(entry, content)):
            log.warning("%s: %s, which has the same tag, is replaced", layout, shown(name))
    unneeded = _unneeded(LayoutSource(members, str(layout)), entries, replaced)
    new = {*content.documents(), *content.blobs()}
    return ExtendedIndex(content.index(document), frozenset(unneeded - new))


def _is_replaced(entry: DescriptorDocument, content: FileContent) -> bool:
    names: Mapping[str, str] = entry.annotations or {}
    new = [annotations_of(name) for name in content.names]
    same_name = any(have_same_name(names, each) for each in new)
    written = {content.root.digest, *(each.manifest.digest for each in content.attachments)}
    unnamed = not (names and new) and entry.digest in written
    return same_name or unnamed


def _other_name(entry: DescriptorDocument, content: FileContent) -> str | None:
    """Return the full name of an entry, if it is not one of those that replace it."""
    annotations = entry.annotations or {}
    name = entry_name(annotations) if CONTAINERD_NAME in annotations else None
    new = {entry_name(annotations_of(each)) for each in content.names}
    return None if name in new else name


def _unneeded(
    source: LayoutSource, entries: Iterable[DescriptorDocument], replaced: Iterable[bool]
) -> set[str]:
    """Return the names of the blobs that entries which are replaced have, and others do not."""
    pairs = list(zip(entries, replaced, strict=True))
    before = [entry for entry, gone in pairs if gone]
    if not before:
        return set()
    try:
        kept = _digests_below(source, [entry for entry, gone in pairs if not gone])
        return {blob_name(digest) for digest in _digests_below(source, before) - kept}
    except ImageError:
        # What can't be read may need any blob.
        return set()


def _digests_below(source: LayoutSource, entries: Iterable[DescriptorDocument]) -> set[str]:
    """Return the digests of manifests and of all to which they refer, as far as they are there.

    Raise ImageError if one is malformed or of an unknown kind.
    """
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    pending, budget = list(entries), JsonBudget()
    while pending:
        entry = pending.pop()
        key = (entry.digest, entry.media_type)
        if key in seen or not source.has(check_digest(entry.digest)):
            continue
        if entry.media_type not in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
            raise ImageError(f"{entry.digest} is neither a manifest nor an index")
        seen.add(key)
        found.add(entry.digest)
        manifest = source.manifest(entry)
        index = parse_index(manifest, budget)
        if index is None:
            document = parse_manifest(manifest)
            found |= {check_digest(blob.digest) for blob in (document.config, *document.layers)}
        else:
            pending += index.manifests
    return found
