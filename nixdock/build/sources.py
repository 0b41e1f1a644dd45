"""Which store the store paths of an image are read from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.spec.closure_spec import nar_hash_of
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.local import LocalStore
from nixdock.stores.store import Store

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["nar_hashes_of", "store_of"]


def store_of(spec: ImageSpec, access: Access | None) -> Store:
    """Return the store of a spec: the local one and, if it names any, binary caches behind it.

    Raise InputError if the URL or the public key of a cache is not valid.
    """
    local = LocalStore(spec.store.root)
    closure = spec.closure
    if closure is None or not closure.stores:
        return local
    # What talks to caches is slow to load.
    from nixdock.registry.access import Access  # noqa: PLC0415
    from nixdock.stores.opening import StoreChoice, open_stores  # noqa: PLC0415

    choice = StoreChoice(tuple(closure.stores), tuple(closure.trusted_public_keys))
    return open_stores(choice, access or Access(), os.environ, local, spec.store.directory)


def nar_hashes_of(spec: ImageSpec) -> dict[StorePath, Hash]:
    """Return the NAR hashes of the store paths that a resolved spec has."""
    hashes = ((StorePath(path), nar_hash_of(info)) for path, info in spec.store_paths.items())
    return {path: nar_hash for path, nar_hash in hashes if nar_hash is not None}
