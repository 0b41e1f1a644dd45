"""Write a docker-archive that also has the files of the format before `manifest.json`.

Each layer has a directory named by an ID, with `layer.tar`, `json` and `VERSION`; `repositories`
maps names and tags to the topmost layer's ID (Docker image specification 1.0). The IDs depend on
the diff_ids, so layers whose diff_id is not known are packed before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from nixdock.layers.layer import Layer
from nixdock.layers.pack import pack_all
from nixdock.layers.progress import NO_PROGRESS, Progress, advance_of, counted
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import DOCKER_MANIFEST
from nixdock.oci.legacy import LEGACY_VERSION, REPOSITORIES, legacy_documents, legacy_ids
from nixdock.system.buffers import Write
from nixdock.write.buildable import Assemble
from nixdock.write.docker_archive import DOCKER_READS
from nixdock.write.member import ArchiveWriter

__all__ = ["write_legacy_archive"]


def write_legacy_archive(
    write: Write,
    layers: Sequence[Layer],
    directory: Path,
    assemble: Assemble,
    *,
    mtime: int,
    progress: Progress = NO_PROGRESS,
) -> Image:
    """Pack `layers` into an archive, pass it to `write` and return the image.

    Layers whose diff_id is not known are packed into files in `directory` first.
    """
    packed = _pack_unknown(layers, directory, progress)
    blobs = dict(packed)
    diff_ids = [
        packed[i].diff_id if i in packed else layer.diff_id or "" for i, layer in enumerate(layers)
    ]
    ids = legacy_ids(diff_ids)
    archive = ArchiveWriter(write, mtime)
    for i, layer in enumerate(layers):
        name = f"{ids[i]}/layer.tar"
        if i in packed:
            archive.add_file(name, directory / hex_of(packed[i].digest), packed[i].size)
        else:
            sized = layer.sized(DOCKER_READS)
            with archive.member(name, sized.size) as write_member:
                hashing = Hashing(write_member)
                sized.write_to(counted(hashing.write, advance_of(progress, i)))
            blobs[i] = sized.described(hashing.digest)
            progress.packed(i, blobs[i])
        archive.add(f"{ids[i]}/VERSION", LEGACY_VERSION)
    image = assemble([blobs[i] for i in range(len(layers))])
    config = orjson.loads(image.config.data)
    for name, document in legacy_documents(ids, config).items():
        archive.add(f"{name}/json", canonical_json(document))
    config_path = f"{hex_of(image.config.digest)}.json"
    archive.add(config_path, image.config.data)
    layer_paths = [f"{layer_id}/layer.tar" for layer_id in ids]
    archive.add(DOCKER_MANIFEST, image.docker_manifest(config_path, layer_paths))
    if ids:
        repositories: dict[str, dict[str, str]] = {}
        for reference in image.references:
            repositories.setdefault(reference.repository, {})[reference.tag] = ids[-1]
        archive.add(REPOSITORIES, canonical_json(repositories))
    archive.finish()
    return image


def _pack_unknown(
    layers: Sequence[Layer], directory: Path, progress: Progress
) -> dict[int, LayerBlob]:
    """Pack the layers whose diff_id is not known, and return the results by index."""
    unknown = [i for i, layer in enumerate(layers) if layer.diff_id is None]
    blobs = pack_all(
        [layers[i] for i in unknown],
        directory,
        progress=_Renumbered(progress, unknown),
    )
    return dict(zip(unknown, blobs, strict=True))


class _Renumbered(Progress):
    """Pass on the progress of some layers; `numbers` are their numbers among all."""

    def __init__(self, progress: Progress, numbers: Sequence[int]) -> None:
        self._progress = progress
        self._numbers = numbers

    def advance(self, index: int, size: int) -> None:
        self._progress.advance(self._numbers[index], size)

    def packed(self, index: int, blob: LayerBlob) -> None:
        self._progress.packed(self._numbers[index], blob)
