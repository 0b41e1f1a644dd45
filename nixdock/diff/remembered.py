"""The store paths in the layers of an image that remembers them, without reading a layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from nixdock.diff.side import Side
from nixdock.errors import InputError
from nixdock.layering.memory import parse_memory
from nixdock.layering.plan_history import abbreviated
from nixdock.oci.digests import chain_ids

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.store_path import StorePath
    from nixdock.read.stored import StoredImage

__all__ = ["remembered_paths", "with_whole_hashes"]

# Who made the layers above those of the store paths, in the history of an image from nixdock.
_OWN_FILES: Final = "nixdock: the image's own files"
_DATABASE: Final = "nixdock: Nix database"


def remembered_paths(image: StoredImage) -> Mapping[int, tuple[StorePath, ...]]:
    """Return the store paths in the layers that the image's memory explains, by their indices.

    Some hashes are abbreviated. The memory is that of all layers together, so what it says is
    certain once its layers are found: below the image's own files, which have no store paths. The
    layers of a base image are not among them.
    """
    memory = _memory(image)
    if memory is None or not memory.layers:
        return {}
    creators = [layer.history.created_by for layer in image.layers]
    database = creators[-1:] == [_DATABASE]
    own_files = len(creators) - (2 if database else 1)
    first = own_files - len(memory.layers)
    expected = [*map(_creator, memory.layers), _OWN_FILES]
    if first < 0 or creators[first : own_files + 1] != expected:
        return {}
    above = dict.fromkeys(range(own_files, len(creators)), ())
    return dict(enumerate(memory.layers, first)) | above


def _memory(image: StoredImage) -> PreviousPlan | None:
    config = image.config
    if config.memory is None:
        return None
    *_, chain_id = ["", *chain_ids(config.rootfs.diff_ids or [])]
    try:
        return parse_memory(config.memory, chain_id)
    except InputError:
        # The layers tell what the memory does not.
        return None


def _creator(paths: tuple[StorePath, ...]) -> str:
    """Return what the history says of a layer with these store paths."""
    more = f" (+{len(paths) - 1})" if len(paths) > 1 else ""
    return f"nixdock: {paths[0].name}{more}"


def with_whole_hashes(side: Side, other: Side) -> Side:
    """Return `side` with the store paths that `other` knows by their whole hashes."""
    known = {abbreviated(path): path for layer in other.layers for path in layer.paths}
    layers = (
        replace(layer, paths=tuple(known.get(path, path) for path in layer.paths))
        for layer in side.layers
    )
    return dataclasses.replace(side, layers=tuple(layers))
