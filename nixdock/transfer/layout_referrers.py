"""Referrers in OCI layouts: `index.json` lists their manifests, without names.

The image-spec leaves open how a layout lists them. ORAS and containerd list them in this way, and
read them so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nixdock.errors import ImageError
from nixdock.oci.descriptor import Blob
from nixdock.oci.descriptor_budget import MOST_IN_DOCUMENT
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.layout import INDEX
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.referrers import referrer_entry, referrer_of
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json
from nixdock.read.members import Members, read_whole
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import MOST_NESTING, parse_index

__all__ = ["referrers_in_layout"]


def referrers_in_layout(
    members: Members, source: LayoutSource, digest: str
) -> list[DescriptorDocument]:
    """Return the descriptors of the manifests in a layout that refer to the one with that digest.

    They may also be in indexes, such as those with which some tools keep the lists of registries.
    Raise ImageError if a document is malformed, or if there are too many.
    """
    index = converted(parse_json(read_whole(members, INDEX, MOST_JSON), INDEX), IndexDocument)
    found = {}
    for manifest in _Manifests(source).below(index.manifests, 0):
        subject = referrer_of(manifest).subject
        if subject is not None and subject.digest == digest:
            found[manifest.digest] = converted(referrer_entry(manifest), DescriptorDocument)
    return [*found.values()]


class _Manifests:
    """All manifests and indexes of a layout that are there, within limits."""

    def __init__(self, source: LayoutSource) -> None:
        self._source = source
        self._budget = JsonBudget()
        self._left = MOST_IN_DOCUMENT

    def below(self, entries: Sequence[DescriptorDocument], depth: int) -> Iterator[Blob]:
        self._left -= len(entries)
        if self._left < 0 or depth > MOST_NESTING:
            raise ImageError(
                f"{self._source.place} has more than {MOST_IN_DOCUMENT} descriptors, or more than"
                f" {MOST_NESTING} indexes within each other"
            )
        for entry in entries:
            is_manifest = entry.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES
            if not is_manifest or not self._source.has(entry.digest):
                continue
            manifest = self._source.manifest(entry)
            yield manifest
            index = parse_index(manifest, self._budget)
            if index is not None:
                yield from self.below(index.manifests, depth + 1)
