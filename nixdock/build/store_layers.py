"""The layers of an image's store paths."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nixdock.errors import SpecError
from nixdock.layers.layer import ListedLayer
from nixdock.layers.store import StoreLayer
from nixdock.nix.store_path import StorePath
from nixdock.spec.closure_spec import nar_hash_of
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.permission_rules import permission_rules
from nixdock.spec.times import parse_time
from nixdock.stores.store import Store
from nixdock.tar.header import MemberMeta, name_text
from nixdock.tar.kinds import Kind

__all__ = ["directories_of", "layers_of_store"]


def directories_of(layers: Sequence[ListedLayer]) -> frozenset[str]:
    """Return the names of the directories in `layers`."""
    return frozenset(
        name_text(entry.name).rstrip("/")
        for layer in layers
        for entry in layer.entries()
        if entry.kind is Kind.DIRECTORY
    )


def layers_of_store(spec: ImageSpec, source: Store, above: Collection[str]) -> list[StoreLayer]:
    """Return the layers of the store paths, to be packed from `source`.

    `above` are the directories in the layers above them.

    The parents of store paths have the owner and mode of the uppermost layer that has them. If it
    is above, rules for them leave the store layers alone, which other images can share then. Raise
    SpecError if there is more than one although the image is to have a single layer.
    """
    if spec.single_layer and len(spec.store_layers or []) > 1:
        count = len(spec.store_layers or [])
        raise SpecError(
            f"store_layers: with single_layer, expected at most one layer, not {count}",
            key="store_layers",
        )
    store = spec.store
    meta = MemberMeta(parse_time(store.mtime), store.uid, store.gid, store.uname, store.gname)
    infos = spec.store_paths
    rules = permission_rules(spec)
    return [
        StoreLayer(
            paths=tuple(map(StorePath, paths)),
            meta=meta,
            store_dir=store.directory,
            store=source,
            nar_hashes=tuple(nar_hash_of(infos.get(path)) for path in paths),
            nar_size=sum(infos[path].nar_size for path in paths if path in infos),
            perms=tuple(
                rule
                for rule in rules
                if any(rule.concerns(path, parents=rule.path not in above) for path in paths)
            ),
        )
        for paths in spec.store_layers or []
    ]
