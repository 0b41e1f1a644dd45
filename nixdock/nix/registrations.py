"""Registrations: what a Nix database is to know, of a closure and of the stores below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from nixdock.errors import ClosureError
from nixdock.nix.closure import Closure, PathInfo
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
    """Return the registration text of a closure, paths in ascending order.

    Raise ClosureError when a path has no NAR hash.
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
    """Return the NAR hash that a registration can't do without; raise ClosureError."""
    if info.nar_hash is None:
        raise ClosureError(
            f"{info.path} has no NAR hash, so it can't be registered; export the graph with"
            " `nix path-info --json --recursive` or exportReferencesGraph"
        )
    if info.nar_hash.algorithm != "sha256":
        raise ClosureError(f"{info.path}: the NAR hash must be sha256, not {info.nar_hash}")
    return info.nar_hash


class ExistingStore(Protocol):
    """A store that an image holds already."""

    @property
    def paths(self) -> frozenset[StorePath]:
        """The paths that are whole."""

    @property
    def damaged(self) -> frozenset[StorePath]:
        """The paths of which a part was deleted."""

    @property
    def registered(self) -> tuple[PathInfo, ...] | None:
        """What the database says, if there is one."""

    @property
    def derivation_outputs(self) -> Mapping[StorePath, Mapping[str, str]]:
        """The outputs of each registered derivation."""


@dataclass(frozen=True, slots=True)
class Registrations:
    """The registrations of a whole image, and what had to be left out of them, for people."""

    closure: Closure
    warnings: tuple[str, ...]
    derivation_outputs: Mapping[StorePath, Mapping[str, str]] = field(default_factory=dict)


def merge_registrations(stores: Sequence[ExistingStore], added: Closure) -> Registrations:
    """Return what is to be registered in an image of `stores`, bottom to top, and `added`.

    Just what the layers hold and what is known of it: a registration of a path that is not there,
    or that refers to one which can't be registered, is left out with a warning, and so is a path
    that no database knows. Raise ClosureError when registrations contradict each other.
    """
    warnings: list[str] = []
    known: dict[StorePath, PathInfo] = {info.path: info for info in added}
    for store in stores:
        absent = []
        for info in store.registered or ():
            if info.path not in store.paths and info.path not in added:
                absent.append(info.path)
            else:
                _add(known, info)
        _warn(warnings, absent, "registered by a base image whose layers don't hold all of it")
    held = set(added.infos).union(*(store.paths for store in stores))
    damaged = set().union(*(store.damaged for store in stores)) - set(added.infos)
    _warn(warnings, damaged, "partly deleted by a layer of a base image, so not registered")
    dangling = _without_dangling(known, held)
    _warn(warnings, dangling, "not registered: what it refers to is not in the image")
    unknown = held - known.keys() - set(dangling)
    _warn(warnings, unknown, "in a base image, but in no database, so not registered")
    outputs = {path: of for store in stores for path, of in store.derivation_outputs.items()}
    return Registrations(Closure.of(known.values()), tuple(warnings), outputs)


def _add(known: dict[StorePath, PathInfo], info: PathInfo) -> None:
    other = known.setdefault(info.path, info)
    if (other.nar_hash, other.nar_size, other.references) != (
        info.nar_hash,
        info.nar_size,
        info.references,
    ):
        raise ClosureError(
            f"{info.path} is registered with NAR hash {info.nar_hash}, {info.nar_size} bytes and"
            f" {len(info.references)} references in one place, with {other.nar_hash},"
            f" {other.nar_size} bytes and {len(other.references)} references in another; one of"
            " the images was changed or built differently"
        )
    if other.deriver is None and info.deriver is not None:
        known[info.path] = info


def _without_dangling(known: dict[StorePath, PathInfo], held: set[StorePath]) -> list[StorePath]:
    """Drop from `known` whatever can't be registered, and return the paths that were dropped."""
    dropped: list[StorePath] = []
    while dangling := [
        info.path
        for info in known.values()
        if info.path not in held or any(path not in known for path in info.references)
    ]:
        for path in dangling:
            del known[path]
        dropped += dangling
    return dropped


def _warn(warnings: list[str], paths: Iterable[StorePath], message: str) -> None:
    ordered = sorted(paths)
    if ordered:
        warnings.append(f"{listed(ordered, _MOST_NAMED)}: {message}")
