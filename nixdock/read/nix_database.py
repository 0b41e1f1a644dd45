"""Reading the Nix database of an untrusted image, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.read.untrusted_sqlite import Rows, open_database
from nixdock.system.text import shown

__all__ = ["Database", "read_database"]

Database = tuple[tuple[PathInfo, ...], dict[StorePath, dict[str, str]]]
"""The registered paths, and the outputs of each derivation."""

_MOST_PATHS: Final = 1_000_000
_TABLES: Final = ("DerivationOutputs", "Refs", "ValidPaths")


def read_database(file: Path, place: str) -> Database:
    """Read Nix's database in `file`.

    Raise OtherDatabaseError, with `place` as its subject, if it is none, and ImageError if it is
    damaged.

    The file is not trusted: it may not execute its own SQL, and neither run nor grow without bound.
    """
    with open_database(file, _TABLES, "a Nix database", place) as rows:
        return tuple(_registered(rows)), _outputs(rows)


def _registered(rows: Rows) -> Iterable[PathInfo]:
    paths: dict[int, StorePath] = {}
    values = {}
    query = "select id, path, hash, narSize, deriver from ValidPaths"
    for number, path, nar_hash, nar_size, deriver in rows.of(query):
        paths[number] = StorePath.parse(path)
        if len(paths) > _MOST_PATHS:
            raise ValueError(f"it has more than {_MOST_PATHS} paths")
        if not isinstance(nar_size, int) or nar_size < 0:
            raise ValueError(f"the NAR size of {shown(path)} is {shown(repr(nar_size))}")
        values[number] = (nar_size, Hash.parse(nar_hash), None if deriver is None else str(deriver))
    references: dict[int, set[StorePath]] = {number: set() for number in paths}
    for referrer, reference in rows.of("select referrer, reference from Refs"):
        if referrer not in paths or reference not in paths:
            raise ValueError("a reference is from or to an unknown path")
        references[referrer].add(paths[reference])
    for number, path in paths.items():
        nar_size, digest, deriver = values[number]
        yield PathInfo(path, nar_size, digest, tuple(sorted(references[number])), deriver)


def _outputs(rows: Rows) -> dict[StorePath, dict[str, str]]:
    """Return the outputs of each registered derivation, which may have none."""
    paths = {
        number: StorePath.parse(path)
        for number, path in rows.of("select id, path from ValidPaths")
        if isinstance(path, str) and path.endswith(".drv")
    }
    outputs: dict[StorePath, dict[str, str]] = {path: {} for path in paths.values()}
    for number, name, path in rows.of("select drv, id, path from DerivationOutputs"):
        if number in paths:
            outputs[paths[number]][str(name)] = StorePath.parse(path)
    return outputs
