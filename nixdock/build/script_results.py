"""Store paths to which the results of scripts refer, as Nix finds them: by their hash parts."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import msgspec

from nixdock.build.script_paths import named_in_scripts
from nixdock.errors import MissingPathsError
from nixdock.layers.layer import ListedLayer
from nixdock.nix.store_path import StorePath
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.store import Store

__all__ = ["paths_in_results", "with_more_roots"]

log = logging.getLogger(__name__)

_SIZE: Final = 32


def paths_in_results(
    spec: ImageSpec, base: BaseImage | None, top: ListedLayer, source: Store
) -> list[StorePath]:
    """Return the store paths to which `top` refers because of a script, and that the image lacks.

    A script can leave references to what it names, and to all that this refers to in `source`. The
    image has the store paths of the resolved `spec` and those of `base`.
    """
    if spec.top_layer is not None or not (named := {*named_in_scripts(spec)}):
        return []
    possible = set(named)
    for path in named:
        with suppress(MissingPathsError):
            possible.update(source.closure([path]).infos)
    possible.difference_update(map(StorePath, spec.store_paths))
    if base is not None:
        possible.difference_update(base.store(spec.store.directory).paths)
    found = _found({path.hash_part.encode() for path in possible}, top)
    return sorted(path for path in possible if path.hash_part.encode() in found)


def with_more_roots(spec: ImageSpec, paths: Collection[StorePath]) -> ImageSpec | None:
    """Return a spec that is not resolved with `paths` as roots, too, or None if that is no change.

    Nothing can be added to a closure in a graph: log a warning then, for each path.
    """
    if not paths:
        return None
    closure = spec.closure
    if spec.store_layers is None and closure is not None and closure.graph is None:
        roots = [*closure.roots, *paths]
        return msgspec.structs.replace(spec, closure=msgspec.structs.replace(closure, roots=roots))
    for path in paths:
        log.warning(
            "the result of a script refers to %s, which is not in the image; add it to the closure",
            path,
        )
    return None


def _found(parts: Collection[bytes], layer: ListedLayer) -> set[bytes]:
    """Return those of the hash parts that the tar of a layer has anywhere."""
    found: set[bytes] = set()
    end = b""

    def write(data: memoryview | bytes) -> None:
        nonlocal end
        text = end + data
        found.update(part for part in parts if part in text)
        end = text[1 - _SIZE :]

    if parts:
        layer.pack(write)
    return found
