"""The parts of an offered image, and streams of them for runtimes that can't pull.

A stream may leave out layers: the ones that the runtime has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK, VerifiedReader
from nixdock.oci.descriptor import Blob, canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.documents import ConfigDocument
from nixdock.oci.layout import BLOBS, CONTAINERD_NAME, DOCKER_MANIFEST, INDEX, MARKER, REF_NAME
from nixdock.oci.media_types import INDEX_MEDIA_TYPE
from nixdock.oci.reference import Reference
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.runtime.catalogue import Offer, ServedBlob
from nixdock.system.buffers import Write
from nixdock.transfer.tree import parse_manifest
from nixdock.write.member import ArchiveWriter

__all__ = ["ImageParts", "LayerPart", "parts_of", "write_docker_stream", "write_oci_stream"]

_MTIME: Final = 1
_MARKER: Final = canonical_json({"imageLayoutVersion": "1.0.0"})


class LayerPart(Struct, frozen=True):
    """A layer: its blob, the blob's digest, and that of the uncompressed layer."""

    digest: str
    diff_id: str
    blob: ServedBlob


class ImageParts(Struct, frozen=True):
    """A manifest, a config, and the layers, bottom to top."""

    manifest: Blob
    config: Blob
    layers: tuple[LayerPart, ...]

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the uncompressed layers."""
        return [layer.diff_id for layer in self.layers]

    def size_without(self, known: Collection[str]) -> int:
        """Return the number of bytes of all blobs but those whose digests are `known`."""
        layers = {each.digest: each.blob.size for each in self.layers if each.digest not in known}
        return sum(layers.values()) + len(self.config.data)


def parts_of(offer: Offer) -> ImageParts:
    """Return the parts of the image that an offer has; raise ImageError if it is malformed."""
    document = parse_manifest(offer.manifest)
    place = f"the config {document.config.digest}"
    with _verified(offer.blobs[document.config.digest], document.config.digest) as stream:
        config = Blob(document.config.media_type, stream.read())
    diff_ids = converted(parse_json(config.data, place), ConfigDocument, place).rootfs.diff_ids
    if len(diff_ids or ()) != len(document.layers):
        raise ImageError(f"{place} is not about {len(document.layers)} layers", place=place)
    layers = tuple(
        LayerPart(layer.digest, diff_id, offer.blobs[layer.digest])
        for layer, diff_id in zip(document.layers, diff_ids or (), strict=True)
    )
    return ImageParts(offer.manifest, config, layers)


def write_docker_stream(
    write: Write, parts: ImageParts, names: Sequence[Reference], known: Collection[str] = ()
) -> None:
    """Write a docker-archive without the layers whose digests are `known`."""
    archive = ArchiveWriter(write, _MTIME)
    files = {layer.digest: f"{hex_of(layer.digest)}.tar" for layer in parts.layers}
    config = f"{hex_of(parts.config.digest)}.json"
    manifest = {
        "Config": config,
        "RepoTags": [str(name) for name in names],
        "Layers": [files[layer.digest] for layer in parts.layers],
    }
    archive.add(DOCKER_MANIFEST, canonical_json([manifest]))
    archive.add(config, parts.config.data)
    for layer in _distinct(parts, known):
        _add_blob(archive, files[layer.digest], layer)
    archive.finish()


def write_oci_stream(
    write: Write, parts: ImageParts, names: Sequence[Reference], known: Collection[str] = ()
) -> None:
    """Write an archive of an OCI layout without the layers whose digests are `known`."""
    archive = ArchiveWriter(write, _MTIME)
    descriptor = {
        "mediaType": parts.manifest.media_type,
        "digest": parts.manifest.digest,
        "size": len(parts.manifest.data),
    }
    entries: list[dict[str, Any]] = [
        {**descriptor, "annotations": {CONTAINERD_NAME: name.canonical, REF_NAME: name.tag}}
        for name in names
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": entries}
    archive.add(MARKER, _MARKER)
    archive.add(INDEX, canonical_json(index))
    archive.add_directory("blobs")
    archive.add_directory(BLOBS)
    for document in (parts.manifest, parts.config):
        archive.add(f"{BLOBS}/{hex_of(document.digest)}", document.data)
    for layer in _distinct(parts, known):
        _add_blob(archive, f"{BLOBS}/{hex_of(layer.digest)}", layer)
    archive.finish()


def _distinct(parts: ImageParts, known: Collection[str]) -> list[LayerPart]:
    distinct = {layer.digest: layer for layer in parts.layers if layer.digest not in known}
    return [*distinct.values()]


def _add_blob(archive: ArchiveWriter, name: str, layer: LayerPart) -> None:
    with (
        archive.member(name, layer.blob.size) as write,
        _verified(layer.blob, layer.digest) as stream,
    ):
        while chunk := stream.read(CHUNK):
            write(chunk)


def _verified(blob: ServedBlob, digest: str) -> VerifiedReader:
    return VerifiedReader(blob.open(), f"the blob {digest}", digest, blob.size)
