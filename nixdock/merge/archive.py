"""Writing several images into one docker-archive, each layer once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from nixdock.layers.passed_on import PassedOnLayer
from nixdock.merge.names import NamedImage
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.layout import DOCKER_MANIFEST
from nixdock.oci.legacy import LEGACY_VERSION, REPOSITORIES, legacy_documents, legacy_ids
from nixdock.oci.reference import Reference
from nixdock.read.stored import StoredImage, StoredLayer
from nixdock.system.buffers import Write
from nixdock.write.docker_archive import DOCKER_READS
from nixdock.write.member import ArchiveWriter

__all__ = ["write_merged_archive"]


def write_merged_archive(
    images: Sequence[NamedImage], write: Write, *, mtime: int, legacy: bool
) -> None:
    """Hand a docker-archive of `images` to `write`; configs and layers stay as they are.

    With `legacy`, it also has the files that Docker needed before version 1.10. Raise ImageError
    if a layer is damaged.
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


def _unique_layers(images: Sequence[NamedImage]) -> Iterator[StoredLayer]:
    """Yield one layer for each diff_id, in the order in which these first appear."""
    layers = {layer.diff_id: layer for named in reversed(images) for layer in named.image.layers}
    for diff_id in dict.fromkeys(layer.diff_id for named in images for layer in named.image.layers):
        yield layers[diff_id]


def _layer_path(layer: StoredLayer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"


def _config_path(image: StoredImage) -> str:
    return f"{hex_of(image.config_digest)}.json"


def _write_legacy(images: Iterable[NamedImage], archive: ArchiveWriter) -> None:
    """Write the files of the format before 1.10: a directory per layer, and `repositories`."""
    repositories: dict[str, dict[str, str]] = {}
    documents: dict[str, Mapping[str, Any]] = {}
    tars: dict[str, str] = {}
    for named in images:
        layers = named.image.layers
        ids = legacy_ids([layer.diff_id for layer in layers])
        tars.update(zip(ids, map(_layer_path, layers), strict=True))
        config = orjson.loads(named.image.config_data)
        for name, document in legacy_documents(ids, config).items():
            # The topmost layer of one image, which says how to run it, may be within others.
            if name not in documents or "config" not in documents[name]:
                documents[name] = document
        for reference in map(Reference.parse, named.tags if ids else ()):
            repositories.setdefault(reference.repository, {})[reference.tag] = ids[-1]
    for name, document in documents.items():
        archive.link(f"{name}/layer.tar", f"../{tars[name]}")
        archive.add(f"{name}/VERSION", LEGACY_VERSION)
        archive.add(f"{name}/json", canonical_json(document))
    archive.add(REPOSITORIES, canonical_json(repositories))
