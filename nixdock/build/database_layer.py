"""The Nix database of an image: where scripts can change it, or as a layer on top of all others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.build.closure import read_closure
from nixdock.build.fetched_contents import contents_of
from nixdock.errors import SpecError
from nixdock.layers.layer import ListedLayer
from nixdock.layers.tree import TreeLayer
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import write_nix_db
from nixdock.nix.derivation import parse_outputs
from nixdock.nix.registrations import Registrations, merge_registrations
from nixdock.nix.store_path import StorePath
from nixdock.oci.layer_blob import LayerHistory
from nixdock.read.nix_store import read_image_store
from nixdock.rootfs.packed_layer import read_top_layer
from nixdock.spec.closure_spec import nar_hash_of
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.permission_rules import permission_rules
from nixdock.stores.store import Store
from nixdock.system.scratch import temporary_directory
from nixdock.tar.header import Attributes, Entry, MemberMeta
from nixdock.tar.names import normalised
from nixdock.tar.walk import walk

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage

__all__ = ["Database", "write_database"]

log = logging.getLogger(__name__)

_FILE: Final = b"nix/var/nix/db/db.sqlite"


class Database(Struct, frozen=True):
    """A database with garbage collector roots, below `tree`, and the paths that it registers."""

    tree: Path
    paths: frozenset[StorePath]

    def layer(
        self, spec: ImageSpec, top: ListedLayer, mtime: int, earlier: Database | None = None
    ) -> TreeLayer | None:
        """Return the layer of the database, or None if `top`, the top layer, has it already.

        The top layer has a database if there are scripts, which may have changed its owners and
        modes: that of `earlier`. If that one does not register the same paths, because it was
        packed before all of them were known, the layer has the owners and modes of the files in the
        top layer.
        """
        members = {normalised(entry.name): entry for entry in top.entries()}
        store = spec.store
        layer = TreeLayer(
            self.tree,
            MemberMeta(mtime, store.uid, store.gid, store.uname, store.gname),
            LayerHistory(
                "nixdock: Nix database", f"the Nix database of {len(self.paths)} store paths"
            ),
            # `/` itself belongs to the top layer.
            root_entry=False,
            perms=permission_rules(spec),
        )
        if _FILE not in members:
            return layer
        if spec.top_layer is None:
            is_in = earlier is None or earlier.paths == self.paths
        else:
            is_in = self._is_in(Path(spec.top_layer), store.directory)
        if is_in:
            return None
        return replace(layer, attributes=self._with_modes_of(members))

    def _is_in(self, top_layer: Path, store_dir: str) -> bool:
        registered = read_image_store([read_top_layer(top_layer)], store_dir).registered
        return {info.path for info in registered or ()} == self.paths

    def _with_modes_of(self, members: Mapping[bytes, Entry]) -> dict[bytes, Attributes]:
        """Give the files the modes of the same `members`; return the owners to give them.

        A file that is not a member gets the owner of the directory that it is in.
        """
        owners: dict[bytes, Attributes] = {}
        for entry in walk(bytes(self.tree), b"/"):
            name = normalised(entry.name)
            member = members.get(name)
            if member is not None and member.attributes is not None:
                owners[name] = replace(member.attributes, xattrs=())
                if entry.source and member.kind == entry.kind:
                    Path(self.tree, name.decode()).chmod(member.mode)
            elif (owner := owners.get(name.rpartition(b"/")[0])) is not None:
                owners[name] = owner
        return owners


def write_database(
    spec: ImageSpec, base: BaseImage | None, source: Store, mtime: int, stack: ExitStack
) -> Database:
    """Write the database of `spec`, which need not be resolved; its closure may be in `source`.

    Its time of registration is `mtime`, in seconds, and closing the stack removes it. Raise
    InputError if the closure is not valid, SpecError if the references of a store path are not
    known, and ClosureError if the registrations in the base image contradict those of the spec.
    """
    registrations = _registrations(spec, base, source)
    for warning in registrations.warnings:
        log.warning("%s", warning)
    directory = stack.enter_context(temporary_directory())
    tree = directory / "root"
    write_nix_db(
        registrations.closure,
        tree,
        registration_time=mtime,
        root=spec.store.root,
        derivation_outputs={
            **_fetched_outputs(registrations.closure, source),
            **registrations.derivation_outputs,
        },
    )
    return Database(tree, frozenset(registrations.closure.infos))


def _fetched_outputs(closure: Closure, source: Store) -> dict[StorePath, Mapping[str, str]]:
    """Return the outputs of the derivations that are not in the local store."""
    outputs: dict[StorePath, Mapping[str, str]] = {}
    for path in closure.infos:
        if path.endswith(".drv") and source.lacks(path):
            data = b"".join(piece for e in source.entries(path) for piece in contents_of(e))
            outputs[path] = parse_outputs(data, path)
    return outputs


def _registrations(spec: ImageSpec, base: BaseImage | None, source: Store) -> Registrations:
    """Return the registrations of exactly those store paths that the layers contain."""
    stores = [] if base is None else [base.store(spec.store.directory)]
    if spec.planned_closure is not None:
        closure = read_closure(spec.planned_closure, source, spec.store.directory, registered=True)
        return merge_registrations(stores, closure)
    registered = set(chain.from_iterable(spec.store_layers or []))
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
