"""The layers of an image as far as they are known without reading a file of the image."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from nixdock.build.store_layers import layers_of_store
from nixdock.layers.layer import OWN_FILES_HISTORY, Layer
from nixdock.layers.pending import PendingLayer
from nixdock.layers.single import SingleLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.oci.layer_blob import LayerHistory
from nixdock.rootfs.packed_layer import read_top_layer
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.store import Store

__all__ = ["outlined_layers"]


def outlined_layers(spec: ImageSpec, source: Store) -> tuple[Layer, ...]:
    """Return the new layers of a resolved spec, to be packed from `source`.

    Those of its own files are pending.

    Raise SpecError if a top layer that the spec names is not there.
    """
    store_layers = layers_of_store(spec, source, frozenset())
    if spec.perms:
        # Which rules apply to these layers depends on the directories of those above them.
        store_layers = [replace(layer, nar_hashes=()) for layer in store_layers]
    own: list[Layer] = []
    if spec.nix_db and not spec.has_scripts:
        own.append(PendingLayer(LayerHistory("nixdock: Nix database", "the Nix database")))
    top = None if spec.top_layer is None else read_top_layer(Path(spec.top_layer))
    if spec.single_layer and store_layers:
        (store,) = store_layers
        tar = top or TarLayer(Path(), "", OWN_FILES_HISTORY)
        single = SingleLayer(tar, store)
        return (PendingLayer(single.history) if top is None else single, *own)
    return (*store_layers, top or PendingLayer(OWN_FILES_HISTORY), *own)
