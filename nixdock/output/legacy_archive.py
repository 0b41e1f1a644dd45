"""A docker-archive with the files of the format before `manifest.json`.

Each layer has a directory named by an ID, with `layer.tar`, `json` and `VERSION`, and
`repositories` leads from names and tags to the topmost ID (Docker image specification 1.0).
Unlike those of a plain docker-archive, the members' names need the layers' digests, so what is
packed is packed before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from nixdock.digest import Write, hex_of, sha256_digest
from nixdock.image import Image, canonical_json
from nixdock.layer import BlobLayer, FinishedLayer, Layer, Source
from nixdock.output.docker_archive import as_docker_reads
from nixdock.output.member import ArchiveWriter
from nixdock.output.oci_layout import Assemble
from nixdock.pack import OnLayer, pack_all

__all__ = ["legacy_documents", "legacy_ids", "write_legacy_archive"]

_VERSION: Final = b"1.0"
_CHUNK: Final = 1 << 20


def write_legacy_archive(
    write: Write,
    sources: Sequence[Source],
    directory: Path,
    assemble: Assemble,
    *,
    mtime: int,
    on_layer: OnLayer = lambda _index, _layer: None,
) -> Image:
    """Pack `sources` by way of `directory` into an archive that is handed to `write`."""
    own = [i for i, source in enumerate(sources) if not isinstance(source, FinishedLayer)]
    packed: dict[int, BlobLayer] = dict(
        zip(
            own,
            pack_all(
                [sources[i] for i in own],
                directory,
                on_layer=lambda index, layer: on_layer(own[index], layer),
            ),
            strict=True,
        )
    )
    settled = [
        as_docker_reads(source) if isinstance(source, FinishedLayer) else packed[i]
        for i, source in enumerate(sources)
    ]
    ids = legacy_ids([layer.diff_id for layer in settled])
    archive = ArchiveWriter(write, mtime)
    layers: list[BlobLayer] = []
    for i, layer in enumerate(settled):
        with archive.member(f"{ids[i]}/layer.tar", layer.size) as write_later:
            if isinstance(layer, FinishedLayer):
                layers.append(layer.copy(write_later))
                on_layer(i, layers[i])
            else:
                layers.append(layer)
                _copy(layer, write_later)
        archive.add(f"{ids[i]}/VERSION", _VERSION)
    image = assemble(layers)
    config = orjson.loads(image.config.data)
    for name, document in legacy_documents(ids, config).items():
        archive.add(f"{name}/json", canonical_json(document))
    config_path = f"{hex_of(image.config.digest)}.json"
    archive.add(config_path, image.config.data)
    archive.add(
        "manifest.json", image.docker_manifest(config_path, [f"{i}/layer.tar" for i in ids])
    )
    reference = image.reference
    if ids:
        repositories = {reference.repository: {reference.tag: ids[-1]}}
        archive.add("repositories", canonical_json(repositories))
    archive.finish()
    return image


def legacy_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the ID of each layer: it names the layer and all below it."""
    ids: list[str] = []
    chain = ""
    for diff_id in diff_ids:
        # The chain ID of the image-spec (config.md, layer chain ID), of which Docker makes IDs.
        chain = sha256_digest(f"{chain} {diff_id}".encode()) if chain else diff_id
        document = {"layer_id": chain, **({"parent": ids[-1]} if ids else {})}
        ids.append(hex_of(sha256_digest(canonical_json(document))))
    return ids


def legacy_documents(
    ids: Sequence[str], config: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """Return each layer's `json`; the topmost one says how to run the image."""
    documents: dict[str, dict[str, Any]] = {
        name: {"id": name, "created": config.get("created"), "os": config.get("os")} for name in ids
    }
    for parent, child in pairwise(ids):
        documents[child]["parent"] = parent
    if ids:
        top = documents[ids[-1]]
        top["architecture"] = config.get("architecture")
        top["config"] = config.get("config") or {}
    return documents


def _copy(layer: Layer, write: Write) -> None:
    with layer.open() as stream:
        while chunk := stream.read(_CHUNK):
            write(chunk)
