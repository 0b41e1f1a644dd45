"""Other stores, and other roots, than those that a spec names."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nixdock.errors import SpecError
from nixdock.nix.store_path import StorePath
from nixdock.spec.closure_spec import ClosureSpec
from nixdock.spec.image_spec import ImageSpec

__all__ = ["with_stores"]


def with_stores(
    spec: ImageSpec,
    stores: Iterable[str] = (),
    trusted_public_keys: Iterable[str] = (),
    roots: Iterable[str] = (),
) -> ImageSpec:
    """Return the spec with more stores, before its own, and more keys that are trusted.

    `roots`, if there are any, take the place of its graph. An image without store paths needs no
    store. Raise SpecError if the spec is resolved, so that its store paths are fixed, and
    InputError if a root is no store path.
    """
    paths = [str(StorePath.parse(text, spec.store.directory)) for text in roots]
    closure = spec.closure or ClosureSpec()
    if paths:
        if spec.store_layers is not None:
            raise SpecError(
                "the spec is resolved, so its store paths can't be those of other roots",
                key="closure.roots",
            )
        closure = msgspec.structs.replace(closure, graph=None, keys=[], roots=paths)
    has_paths = closure.graph is not None or closure.roots or spec.store_layers
    if not has_paths:
        return spec
    changed = msgspec.structs.replace(
        closure,
        stores=[*dict.fromkeys([*stores, *closure.stores])],
        trusted_public_keys=[*closure.trusted_public_keys, *trusted_public_keys],
    )
    return spec if changed == spec.closure else msgspec.structs.replace(spec, closure=changed)
