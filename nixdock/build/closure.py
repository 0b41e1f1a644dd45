"""The closure of a spec: that of a graph, or that of roots in a store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import InputError, SpecError
from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.spec.problem import below_key
from nixdock.system.input_files import read_bytes

if TYPE_CHECKING:
    from nixdock.spec.closure_spec import ClosureSpec
    from nixdock.stores.store import Store

__all__ = ["read_closure"]

log = logging.getLogger(__name__)


def read_closure(spec: ClosureSpec, source: Store, store_dir: str, *, registered: bool) -> Closure:
    """Return the closure of the roots, without the excluded paths; without a graph, ask `source`.

    With `registered`, for a Nix database, raise SpecError if another path refers to one of them.
    """
    if spec.graph is None:
        closure = source.closure([*_parse_paths(spec.roots, "closure.roots", store_dir)])
    else:
        closure = _of_graph(spec, Path(spec.graph), store_dir)
    excluded = frozenset(_parse_paths(spec.exclude, "closure.exclude", store_dir))
    if registered:
        _check_registrable(closure, excluded)
    return closure.without(excluded)


def _of_graph(spec: ClosureSpec, graph: Path, store_dir: str) -> Closure:
    with below_key("closure.graph"):
        data = read_bytes(graph, "the closure's graph")
        closure = parse_closure(data, spec.keys, str(graph))
    if not data.strip():
        log.warning(
            "the closure's graph %s is empty, so the image has no store paths: the program that"
            " writes it may have failed",
            graph,
        )
    for path in closure.infos:
        if path.store_dir != store_dir:
            raise SpecError(
                f"closure.graph: {path} is not in the store {store_dir}",
                key="closure.graph",
                path=path,
            )
    if spec.roots:
        closure = closure.reached_from(_parse_roots(spec, closure, store_dir))
    return closure


def _parse_roots(spec: ClosureSpec, closure: Closure, store_dir: str) -> Iterator[StorePath]:
    for i, path in enumerate(_parse_paths(spec.roots, "closure.roots", store_dir)):
        if path not in closure:
            key = f"closure.roots[{i}]"
            raise SpecError(f"{key}: {path} is not in the graph {spec.graph}", key=key, path=path)
        yield path


def _parse_paths(paths: Sequence[str], key: str, store_dir: str) -> Iterator[StorePath]:
    for i, path in enumerate(paths):
        try:
            yield StorePath.parse(path, store_dir)
        except InputError as error:
            raise SpecError(f"{key}[{i}]: {error}", key=f"{key}[{i}]", path=path) from None


def _check_registrable(closure: Closure, excluded: frozenset[StorePath]) -> None:
    for info in closure:
        for reference in info.references:
            if reference in excluded and info.path not in excluded:
                raise SpecError(
                    f"closure.exclude: {info.path} refers to {reference}, without which a database"
                    " can't register it; keep it, or exclude both",
                    key="closure.exclude",
                    path=info.path,
                )
