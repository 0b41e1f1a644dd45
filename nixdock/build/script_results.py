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
from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.closure_spec import ClosureSpec
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.store import Store

__all__ = ["possible_results", "with_results"]

log = logging.getLogger(__name__)

_SIZE: Final = 32


def with_results(
    unresolved: ImageSpec,
    spec: ImageSpec,
    base: BaseImage | None,
    top: ListedLayer,
    source: Store,
) -> ImageSpec | None:
    """Return the spec with the store paths as roots to which `top` refers because of a script.

    The image has the store paths of the resolved `spec` and those of `base`; return None if it has
    all paths. Nothing can be added to a closure in a graph: log a warning then, for each path.
    """
    paths = _referred(spec, base, top, source)
    if not paths:
        return None
    closure = _open_closure(unresolved)
    if closure is not None:
        closure = msgspec.structs.replace(closure, roots=[*closure.roots, *paths])
        return msgspec.structs.replace(unresolved, closure=closure)
    for path in paths:
        log.warning(
            "the result of a script refers to %s, which is not in the image; add it to the closure",
            path,
        )
    return None


def possible_results(
    unresolved: ImageSpec, spec: ImageSpec, base: BaseImage | None, source: Store
) -> list[StorePath]:
    """Return the store paths that `with_results` may add to the image; no script has to run."""
    if _open_closure(unresolved) is None:
        return []
    return sorted(_possible(spec, base, source))


def _open_closure(unresolved: ImageSpec) -> ClosureSpec | None:
    """Return the closure of a spec if store paths can be added to it, or None."""
    closure = unresolved.planned_closure
    return None if closure is None or closure.graph is not None else closure


def _referred(
    spec: ImageSpec, base: BaseImage | None, top: ListedLayer, source: Store
) -> list[StorePath]:
    """Return the store paths to which the top layer refers, but which the image lacks."""
    possible = _possible(spec, base, source)
    found = _found({path.hash_part.encode() for path in possible}, top)
    return sorted(path for path in possible if path.hash_part.encode() in found)


def _possible(spec: ImageSpec, base: BaseImage | None, source: Store) -> set[StorePath]:
    """Return the store paths to which the result of a script may refer, but which the image lacks.

    A script can leave references to what it names, and to all that this refers to in `source`.
    """
    if spec.top_layer is not None or not (named := {*named_in_scripts(spec)}):
        return set()
    infos = {path: PathInfo(path) for path in named}
    for path in named:
        with suppress(MissingPathsError):
            infos.update(source.closure([path]).infos)
    possible = infos.keys() - set(map(StorePath, spec.store_paths))
    if base is not None:
        store = base.store(spec.store.directory)
        possible = {path for path in possible if not store.has_whole(infos[path])}
    return possible


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
