"""Writing several images to one docker-archive, with each layer once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from nixdock.layers.passed_on import PassedOnLayer
from nixdock.merge.names import NamedImage
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.layout import DOCKER_MANIFEST
from nixdock.oci.legacy import LEGACY_VERSION, REPOSITORIES, legacy_documents, legacy_ids
from nixdock.oci.reference import Reference
from nixdock.read.stored import StoredImage
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.buffers import Write
from nixdock.write.docker_archive import DOCKER_READS
from nixdock.write.member import ArchiveWriter

__all__ = ["write_merged_archive"]


def write_merged_archive(
    images: Sequence[NamedImage], write: Write, *, mtime: int, legacy: bool
) -> None:
    """Write a docker-archive of `images`; configs and layers are unchanged.

    With `legacy`, add the files that Docker needed before version 1.10. All times are `mtime`, in
    seconds. Raise ImageError if a layer is damaged.
    """
    archive = ArchiveWriter(write, mtime)
    for layer in _unique_layers(images):
        sized = PassedOnLayer.of(layer).sized(DOCKER_READS)
        with archive.member(_layer_path(layer), sized.size) as write_member:
            hashing = Hashing(write_member)
            sized.write_to(hashing.write)
        sized.described(hashing.digest)
    for named in images:
        archive.add(_config_path(named.image), named.image.config_data)
    if legacy:
        _write_legacy(images, archive)
    manifest = [
        {
            "Config": _config_path(named.image),
            "RepoTags": named.tags or None,
            "Layers": [_layer_path(layer) for layer in named.image.layers],
        }
        for named in images
    ]
    archive.add(DOCKER_MANIFEST, canonical_json(manifest))
    archive.finish()


def _unique_layers(images: Iterable[NamedImage]) -> Iterable[StoredLayer]:
    """Return the first layer with each diff_id, in the order of the images."""
    layers: dict[str, StoredLayer] = {}
    for named in images:
        for layer in named.image.layers:
            layers.setdefault(layer.diff_id, layer)
    return layers.values()


def _layer_path(layer: StoredLayer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"


def _config_path(image: StoredImage) -> str:
    return f"{hex_of(image.config_digest)}.json"


def _write_legacy(images: Iterable[NamedImage], archive: ArchiveWriter) -> None:
    """Write the files that Docker needed before 1.10: a directory per layer, and `repositories`."""
    repositories: dict[str, dict[str, str]] = {}
    documents: dict[str, Mapping[str, Any]] = {}
    tars: dict[str, str] = {}
    for named in images:
        layers = named.image.layers
        ids = legacy_ids([layer.diff_id for layer in layers])
        tars.update(zip(ids, map(_layer_path, layers), strict=True))
        config = orjson.loads(named.image.config_data)
        for name, document in legacy_documents(ids, config).items():
            # Only the document of a top layer has a config. The same layer may be below others in
            # another image, so prefer a document with a config.
            if name not in documents or "config" not in documents[name]:
                documents[name] = document
        for reference in map(Reference.parse, named.tags if ids else ()):
            repositories.setdefault(reference.repository, {})[reference.tag] = ids[-1]
    for name, document in documents.items():
        archive.link(f"{name}/layer.tar", f"../{tars[name]}")
        archive.add(f"{name}/VERSION", LEGACY_VERSION)
        archive.add(f"{name}/json", canonical_json(document))
    archive.add(REPOSITORIES, canonical_json(repositories))
