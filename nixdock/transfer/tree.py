"""Everything to which a manifest or an index refers: what a copy of it has to have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.layers.hashed import VerifiedReader
from nixdock.oci.descriptor import Blob
from nixdock.oci.descriptor_budget import DescriptorBudget
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import DescriptorDocument, IndexDocument, ManifestDocument
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json

if TYPE_CHECKING:
    from nixdock.transfer.source import Source

__all__ = [
    "MOST_NESTING",
    "Tree",
    "parse_index",
    "parse_manifest",
    "read_document",
    "read_tree",
]

MOST_NESTING: Final = 4
"""The largest number of indexes within each other that are read."""


class Tree(Struct, frozen=True):
    """A manifest with its blobs, or an index with the trees that it lists; the bytes are exact.

    The config is the last of the blobs, because it refers to the others.
    """

    manifest: Blob
    blobs: tuple[DescriptorDocument, ...] = ()
    children: tuple[Tree, ...] = ()

    def all_manifests(self) -> tuple[Blob, ...]:
        """Return all manifests and indexes, each once and after those to which it refers."""
        return tuple({tree.manifest.digest: tree.manifest for tree in self.walk()}.values())

    def all_blobs(self) -> tuple[DescriptorDocument, ...]:
        """Return the blobs of all manifests, each once; raise ImageError if sizes contradict."""
        blobs: dict[str, DescriptorDocument] = {}
        for tree in self.walk():
            for blob in tree.blobs:
                if blobs.setdefault(blob.digest, blob).size != blob.size:
                    raise ImageError(
                        f"{_named(tree.manifest)}: the blob {blob.digest} has {blob.size} bytes"
                        f" here, but {blobs[blob.digest].size} elsewhere",
                        digest=blob.digest,
                    )
        return tuple(blobs.values())

    def walk(self) -> Iterator[Tree]:
        """Yield all trees, each after those below it."""
        for child in self.children:
            yield from child.walk()
        yield self


def read_tree(source: Source, manifest: Blob) -> Tree:
    """Read what `manifest`, a manifest or an index, refers to, but no blobs.

    Raise ImageError, with the place of `source`, if a document is missing or damaged, or if there
    are too many of them.
    """
    try:
        return _Reader(source).tree(manifest, 0)
    except ImageError as error:
        if error.place is not None:
            raise
        message = f"{source.place}: {error}"
        raise ImageError(message, place=source.place, digest=error.digest) from None


def read_document(source: Source, descriptor: DescriptorDocument, most: int = MOST_JSON) -> bytes:
    """Return a small blob, such as a config; raise ImageError if it is damaged or too large."""
    place = f"{source.place}: the blob {descriptor.digest}"
    if descriptor.size > most:
        raise ImageError(
            f"{place} has {descriptor.size} bytes, but may have at most {most}", place=place
        )
    digest = check_digest(descriptor.digest)
    with VerifiedReader(source.open(digest), place, digest, descriptor.size) as stream:
        return stream.read()


def parse_index(manifest: Blob, budget: JsonBudget | None = None) -> IndexDocument | None:
    """Return an index, or None if it is a manifest; raise ImageError if it could be both."""
    value = parse_json(manifest.data, _named(manifest), budget)
    # Readers could take it for an index or for a manifest, of another image (CVE-2021-41190).
    if isinstance(value, dict) and "manifests" in value and value.keys() & {"layers", "config"}:
        raise ImageError(
            f"{_named(manifest)} has both manifests and layers: it could be an index or a manifest",
            digest=manifest.digest,
        )
    if manifest.media_type not in INDEX_MEDIA_TYPES:
        return None
    return converted(value, IndexDocument, _named(manifest))


def parse_manifest(manifest: Blob) -> ManifestDocument:
    """Return the manifest of an image or artifact; raise ImageError if it is malformed."""
    name = _named(manifest)
    return converted(parse_json(manifest.data, name), ManifestDocument, name)


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._budget = JsonBudget()
        self._descriptors = DescriptorBudget()

    def tree(self, manifest: Blob, depth: int) -> Tree:
        index = parse_index(manifest, self._budget)
        if index is None:
            document = parse_manifest(manifest)
            blobs = (*document.layers, document.config)
            self._check(manifest, blobs)
            for layer in document.layers:
                self._check_foreign(manifest, layer)
            return Tree(manifest, blobs)
        if depth >= MOST_NESTING:
            raise ImageError(
                f"{_named(manifest)} is within {MOST_NESTING} others; no more are read",
                digest=manifest.digest,
            )
        self._check(manifest, index.manifests)
        children = tuple(self._child(manifest, child, depth) for child in index.manifests)
        return Tree(manifest, children=children)

    def _child(self, parent: Blob, child: DescriptorDocument, depth: int) -> Tree:
        if child.media_type not in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
            raise ImageError(
                f"{_named(parent)} lists {child.digest}, whose media type {child.media_type!r} is"
                " not that of an image or an index of images",
                digest=child.digest,
            )
        manifest = self._source.manifest(child)
        self._budget.bytes_left -= len(manifest.data)
        if len(manifest.data) != child.size or self._budget.bytes_left < 0:
            raise ImageError(
                f"{_named(manifest)} has {len(manifest.data)} bytes, but should have {child.size}",
                digest=manifest.digest,
            )
        return self.tree(manifest, depth + 1)

    def _check(
        self, manifest: Blob, descriptors: tuple[DescriptorDocument, ...] | list[DescriptorDocument]
    ) -> None:
        try:
            self._descriptors.take(len(descriptors), self._source.place)
        except ImageError as error:
            raise ImageError(str(error), place=self._source.place) from None
        for descriptor in descriptors:
            check_digest(descriptor.digest)
            if descriptor.size < 0:
                raise ImageError(
                    f"{_named(manifest)}: the size of {descriptor.digest} is {descriptor.size}",
                    digest=descriptor.digest,
                )

    def _check_foreign(self, manifest: Blob, layer: DescriptorDocument) -> None:
        """Refuse a layer that only other servers have: they could be any, also internal ones."""
        if layer.urls and not self._source.has(layer.digest):
            raise ImageError(
                f"{_named(manifest)}: the layer {layer.digest} is at {layer.urls[0]!r} and not in"
                f" {self._source.place}; nixdock fetches no layers from other places",
                place=self._source.place,
                digest=layer.digest,
            )


def _named(manifest: Blob) -> str:
    noun = "index" if manifest.media_type in INDEX_MEDIA_TYPES else "manifest"
    return f"the {noun} {manifest.digest}"
