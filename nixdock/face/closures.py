"""Closures: reading reference graphs, and registering store paths with Nix."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.face.several import several
from nixdock.nix import reference_graph
from nixdock.nix.store_path import StorePath
from nixdock.system.input_files import read_bytes

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location, Place
    from nixdock.read.nix_store import ImageStore
    from nixdock.registry.access import Access

__all__ = [
    "parse_closure",
    "query_closure",
    "read_closure",
    "registration_text",
    "write_database",
]

log = logging.getLogger(__name__)


def parse_closure(data: bytes, keys: Iterable[str] = (), origin: str = "the graph") -> Closure:
    """Return the closure in `data`, in any form in which Nix exports a reference graph.

    The forms are a structured-attrs file with `exportReferencesGraph`, the output of
    `nix path-info --json`, a list of path infos, and registration text. `keys` are the keys of the
    graphs to read from a structured-attrs file; without keys, all are read. `origin` names the data
    in error messages. Raise ClosureError if the data is not valid.
    """
    return reference_graph.parse_closure(data, several(keys, "keys"), origin)


def read_closure(file: str | os.PathLike[str], keys: Iterable[str] = ()) -> Closure:
    """Read a reference graph as `parse_closure` does, from a file or, for `-`, standard input.

    Raise InputError if the file can't be read, ClosureError if it is not valid.
    """
    return parse_closure(read_bytes(Path(file), "the graph"), keys, os.fspath(file))


def query_closure(
    roots: Iterable[str],
    *,
    stores: Iterable[str] = (),
    trusted_public_keys: Iterable[str] = (),
    root: str = "",
    access: Access | None = None,
) -> Closure:
    """Return the closure of store paths in the local store and in binary caches.

    `stores` are the URLs of caches, which are asked, in the order of their priorities, for paths
    that are not valid in the local store; only their narinfos are fetched. Paths must be signed by
    one of `trusted_public_keys`, NAME:BASE64, or of those in nix.conf. `root` is the directory that
    contains the local store.

    Raise InputError if a root, a URL or a key is not valid, MissingPathsError, with all paths that
    no store has, or none that is trusted, and CacheError if a cache fails and no other has a path.
    """
    from nixdock.registry.access import Access
    from nixdock.stores.local import LocalStore
    from nixdock.stores.opening import StoreChoice, open_stores

    paths = [StorePath.parse(text) for text in several(roots, "roots")]
    local = LocalStore(root)
    urls = several(stores, "stores")
    if not urls:
        return local.closure(paths)
    choice = StoreChoice(urls, several(trusted_public_keys, "trusted_public_keys"))
    return open_stores(choice, access or Access(), os.environ, local).closure(paths)


def registration_text(closure: Closure) -> bytes:
    """Return the text with which `nix-store --load-db` registers the store paths of `closure`.

    Raise ClosureError if a store path has no SHA-256 NAR hash.
    """
    from nixdock.nix.registrations import render_registration

    return render_registration(closure)


def write_database(
    closure: Closure,
    directory: str | os.PathLike[str],
    *,
    base_images: Iterable[Place] = (),
    gc_roots: Iterable[StorePath] = (),
    registration_time: int = 1,
    root: str = "",
    platform: str | None = None,
    access: Access | None = None,
) -> None:
    """Write a Nix database with the store paths of `closure` to nix/var/nix/db in `directory`.

    Store paths in the layers of `base_images`, lowest first, are registered too, if a database
    there knows them; a warning is logged for each path that can't be registered. `platform`, as
    OS/ARCHITECTURE[/VARIANT], selects one of the images for several platforms; the default is
    linux/amd64. Symlinks in
    nix/var/nix/gcroots/docker protect `gc_roots` from garbage collection: by default, the roots of
    all registered paths. `registration_time` is in seconds since 1970. `root` is the directory that
    contains the store; it is read only for derivations.

    Raise ClosureError if a store path has no NAR hash, a garbage collector root is not in the
    closure or registrations contradict each other, InputError, ImageError or RegistryError if a
    base image can't be used, and OutputError if the database exists already or can't be written.
    """
    from nixdock.nix.database import write_nix_db
    from nixdock.nix.registrations import merge_registrations
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform

    wanted = wanted_platform(platform)
    stores = [
        _store_of(location_of(base), wanted, access) for base in several(base_images, "base_images")
    ]
    registrations = merge_registrations(stores, closure)
    for warning in registrations.warnings:
        log.warning("%s", warning)
    write_nix_db(
        registrations.closure,
        Path(directory),
        gc_roots=several(gc_roots, "gc_roots"),
        registration_time=registration_time,
        root=root,
        derivation_outputs=registrations.derivation_outputs,
    )


def _store_of(base: Location, platform: Platform | None, access: Access | None) -> ImageStore:
    from nixdock.oci.descriptor import Platform
    from nixdock.read.nix_store import read_image_store
    from nixdock.read.selection import select_only_image
    from nixdock.registry.opening import open_location

    with open_location(base, access, platform=platform or Platform(), keep=True) as file:
        return read_image_store(select_only_image(file, platform).layers)
