"""The Nix database of an image, as a layer on top of all others."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from nixdock.errors import SpecError
from nixdock.layers.tree import TreeLayer
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import write_nix_db
from nixdock.nix.registrations import Registrations, merge_registrations
from nixdock.nix.store_path import StorePath
from nixdock.oci.layer_blob import LayerHistory
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.image_spec import ImageSpec, nar_hash_of
from nixdock.tar.header import MemberMeta

__all__ = ["add_database_layer"]

log = logging.getLogger(__name__)


def add_database_layer(
    spec: ImageSpec, base: BaseImage | None, mtime: int, stack: ExitStack
) -> TreeLayer:
    """Write the database of the resolved `spec` and return its layer.

    Its files have `mtime`, in seconds, and closing the stack removes them. Raise SpecError if the
    references of a store path are not known, and ClosureError if the registrations in the base
    image contradict those of the spec.
    """
    store = spec.store
    registrations = _registrations(spec, base)
    for warning in registrations.warnings:
        log.warning("%s", warning)
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="nixdock-"))
    tree = Path(directory) / "root"
    write_nix_db(
        registrations.closure,
        tree,
        registration_time=mtime,
        root=store.root,
        derivation_outputs=registrations.derivation_outputs,
    )
    count = len(registrations.closure)
    return TreeLayer(
        tree,
        MemberMeta(mtime, store.uid, store.gid, store.uname, store.gname),
        LayerHistory("nixdock: Nix database", f"the Nix database of {count} store paths"),
        # `/` itself belongs to the top layer.
        root_entry=False,
    )


def _registrations(spec: ImageSpec, base: BaseImage | None) -> Registrations:
    """Return the registrations of exactly those store paths that the layers contain."""
    registered = set(chain.from_iterable(spec.store_layers or []))
    stores = [] if base is None else [base.store(spec.store.directory)]
    for path in registered:
        info = spec.store_paths.get(path)
        if info is None or info.references is None:
            raise SpecError(
                f"nix_db: the references of {path} are not known; add the closure to the spec, or"
                " the references to store_paths",
                key="nix_db",
                path=path,
            )
    # A resolved spec also describes the paths of its closure that are in the base image.
    registered.update(*(store.paths for store in stores))
    added = Closure.of(
        PathInfo(
            path=StorePath(path),
            nar_size=info.nar_size,
            nar_hash=nar_hash_of(info),
            references=tuple(map(StorePath, info.references)),
            deriver=info.deriver,
        )
        for path, info in spec.store_paths.items()
        if path in registered and info.references is not None
    )
    return merge_registrations(stores, added)
