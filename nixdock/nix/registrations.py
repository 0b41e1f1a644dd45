"""Registrations: the path infos that a Nix database records, from a closure and base images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct, field

from nixdock.errors import ClosureError
from nixdock.nix.closure import EXPORT_COMMAND, Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.registration_text import RegistrationRecord, format_registration
from nixdock.nix.store_path import StorePath
from nixdock.system.text import listed

__all__ = [
    "ExistingStore",
    "Registrations",
    "known_nar_hash",
    "merge_registrations",
    "render_registration",
]

_MOST_NAMED: Final = 5


def render_registration(closure: Closure) -> bytes:
    """Return the registration text of a closure, with its paths in ascending order.

    Raise ClosureError if a path has no NAR hash.
    """
    return format_registration(
        RegistrationRecord(
            path=info.path,
            nar_hash=f"sha256:{known_nar_hash(info).base32}",
            nar_size=info.nar_size,
            deriver=info.deriver or "",
            references=info.references,
        )
        for info in closure
    )


def known_nar_hash(info: PathInfo) -> Hash:
    """Return the NAR hash of `info`; raise ClosureError if there is none or it is not sha256."""
    if info.nar_hash is None:
        raise ClosureError(
            f"{info.path} has no NAR hash, so it can't be registered; export the graph with"
            f" {EXPORT_COMMAND} or exportReferencesGraph",
            path=info.path,
        )
    if info.nar_hash.algorithm != "sha256":
        raise ClosureError(
            f"{info.path}: the NAR hash must be sha256, not {info.nar_hash}", path=info.path
        )
    return info.nar_hash


class ExistingStore(Protocol):
    """The store in the layers of a base image."""

    @property
    def paths(self) -> frozenset[StorePath]:
        """The paths that are complete."""

    @property
    def damaged(self) -> frozenset[StorePath]:
        """The incomplete paths: a layer deleted a part of each."""

    @property
    def registered(self) -> tuple[PathInfo, ...] | None:
        """The path infos in the database, or None if there is no database."""

    @property
    def derivation_outputs(self) -> Mapping[StorePath, Mapping[str, str]]:
        """The outputs of each registered derivation, by name."""


class Registrations(Struct, frozen=True):
    """The registrations of a whole image, and warnings about paths that can't be registered."""

    closure: Closure
    warnings: tuple[str, ...]
    derivation_outputs: Mapping[StorePath, Mapping[str, str]] = field(default_factory=dict)


def merge_registrations(stores: Sequence[ExistingStore], added: Closure) -> Registrations:
    """Return the registrations of an image of `stores`, bottom to top, and `added`.

    A path is registered if the layers hold all of it, its info is known, and all its references
    are registered; there is a warning about each other path. Raise ClosureError if two infos of a
    path contradict each other.
    """
    warnings: list[str] = []
    infos: dict[StorePath, PathInfo] = {info.path: info for info in added}
    for store in stores:
        absent = []
        for info in store.registered or ():
            if info.path not in store.paths and info.path not in added:
                absent.append(info.path)
            else:
                _add(infos, info)
        _warn(warnings, absent, "registered by a base image whose layers don't hold the whole path")
    complete = set(added.infos).union(*(store.paths for store in stores))
    damaged = set().union(*(store.damaged for store in stores)) - set(added.infos)
    _warn(warnings, damaged, "not registered: a layer of a base image deletes a part of it")
    dangling = _remove_dangling(infos, complete)
    _warn(warnings, dangling, "not registered: a path that it refers to is not in the image")
    unknown = complete - infos.keys() - set(dangling)
    _warn(warnings, unknown, "not registered: it is in a base image, but in no database")
    outputs = {
        path: outputs for store in stores for path, outputs in store.derivation_outputs.items()
    }
    return Registrations(Closure.of(infos.values()), tuple(warnings), outputs)


def _add(infos: dict[StorePath, PathInfo], info: PathInfo) -> None:
    """Add `info` to `infos`, or its deriver if that alone is missing."""
    earlier = infos.setdefault(info.path, info)
    if (earlier.nar_hash, earlier.nar_size, earlier.references) != (
        info.nar_hash,
        info.nar_size,
        info.references,
    ):
        raise ClosureError(
            f"{info.path} is registered with NAR hash {info.nar_hash}, {info.nar_size} bytes and"
            f" {len(info.references)} references in one database, and with {earlier.nar_hash},"
            f" {earlier.nar_size} bytes and {len(earlier.references)} references in another; one"
            " of the images was changed or built differently",
            path=info.path,
        )
    if earlier.deriver is None and info.deriver is not None:
        infos[info.path] = info


def _remove_dangling(infos: dict[StorePath, PathInfo], complete: set[StorePath]) -> list[StorePath]:
    """Remove from `infos` the paths that can't be registered, and return them.

    These are paths that are not complete, and paths with a reference to one that is not in
    `infos`. Removing a path leaves its referrers dangling.
    """
    referrers: dict[StorePath, list[StorePath]] = {}
    for info in infos.values():
        for path in info.references:
            referrers.setdefault(path, []).append(info.path)
    pending = [path for path in infos if path not in complete]
    for path in referrers.keys() - infos.keys():
        pending += referrers[path]
    removed: list[StorePath] = []
    while pending:
        path = pending.pop()
        if infos.pop(path, None) is not None:
            removed.append(path)
            pending += referrers.get(path, ())
    return removed


def _warn(warnings: list[str], paths: Iterable[StorePath], message: str) -> None:
    ordered = sorted(paths)
    if ordered:
        warnings.append(f"{listed(ordered, _MOST_NAMED)}: {message}")
