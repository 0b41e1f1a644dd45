"""Layers that are known by key: their blobs exist somewhere, so that no file need be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nixdock.layers.compressors import annotations_of, media_type_of
from nixdock.layers.keys import blob_key

if TYPE_CHECKING:
    from nixdock.layers.compression import Compression
    from nixdock.layers.layer import Layer
    from nixdock.oci.layer_blob import LayerBlob

__all__ = ["KnownBlobs", "existing_layers", "key_of", "known_blob", "known_layers"]

KnownBlobs = Mapping[str, "LayerBlob"]
"""Blobs by their keys; existing blobs by their digests as well."""


def key_of(layer: Layer, compression: Compression) -> str | None:
    """Return by what a layer's blob is known before the layer is packed, or None if by nothing."""
    if layer.key is not None:
        return blob_key(layer.key, compression)
    return layer.existing_digest


def known_blob(layer: Layer, compression: Compression, known: KnownBlobs) -> LayerBlob | None:
    """Return the blob that `layer` will have, with the layer's own history, if it is known."""
    key = key_of(layer, compression)
    blob = None if key is None else known.get(key)
    if blob is None:
        return None
    has_tar = layer.diff_id in {None, blob.diff_id}
    if layer.key is None:
        own = layer.existing_annotations
        return replace(blob, history=layer.history, key=None, annotations=own) if has_tar else None
    # Without its annotations, nothing of a blob could be fetched in part.
    is_described = (
        blob.media_type == media_type_of(compression)
        and blob.annotations.keys() == annotations_of(compression)
        and (has_tar or not compression.keeps_tar)
    )
    return replace(blob, history=layer.history, key=key) if is_described else None


def known_layers(
    layers: Iterable[Layer], compression: Compression, known: KnownBlobs
) -> dict[int, LayerBlob]:
    """Return the blobs of the layers that are known, by the layers' numbers."""
    found = ((i, known_blob(layer, compression, known)) for i, layer in enumerate(layers))
    return {i: blob for i, blob in found if blob is not None}


def existing_layers(
    layers: Iterable[Layer], known: Mapping[int, LayerBlob]
) -> dict[int, LayerBlob]:
    """Return the existing layers, by their numbers, that need not be read to be named.

    Leave out those in `known`.
    """
    found = ((i, layer.existing_blob()) for i, layer in enumerate(layers) if i not in known)
    return {i: blob for i, blob in found if blob is not None}
