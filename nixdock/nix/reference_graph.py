"""Parsing closures from each form in which Nix exports a reference graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from msgspec import Struct, field

from nixdock.errors import ClosureError, InputError
from nixdock.nix.closure import EXPORT_COMMAND, Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.system.magic import kind_of_data
from nixdock.system.presence import is_pipe

__all__ = ["parse_closure", "parse_closures"]


def parse_closure(data: bytes, keys: Sequence[str] = (), origin: str = "the graph") -> Closure:
    """Parse a closure from any form in which Nix exports a reference graph.

    These are a structured-attrs file with `exportReferencesGraph` (all of its graphs, or those at
    `keys`), a bare list of path infos, the output of `nix path-info --json` as a list or as a map,
    and the registration text that `nix-store --load-db` reads. `origin` names the data in errors.

    Raise ClosureError if the data has none of these forms or breaks the closure contract. Its
    `path` is the store path at fault, `key` the JSON key, and `place` the line of the text.
    Nothing is the text of a closure without store paths; but from standard input, `-`, or another
    pipe, it is what a program leaves that has failed.
    """
    (closure,) = parse_closures(data, [keys], origin)
    return closure


def parse_closures(data: bytes, selections: Iterable[Sequence[str]], origin: str) -> list[Closure]:
    """Parse the closure of each selection of keys, as `parse_closure` does with one of them.

    The data, which may be large, is decoded once.
    """
    if kind := kind_of_data(data):
        raise ClosureError(f"{origin} is {kind}, not a reference graph")
    if not data.strip() and (origin == "-" or is_pipe(origin)):
        what = "standard input" if origin == "-" else origin
        raise ClosureError(
            f"{what} is empty: the program that writes the reference graph may have failed"
        )
    try:
        if data.lstrip()[:1] in {b"{", b"["}:
            document = orjson.loads(data)
            return [Closure.of(_infos_of_document(document, keys)) for keys in selections]
        closure = Closure.of(_infos_of_registration(data))
        return [_whole(closure, keys) for keys in selections]
    except orjson.JSONDecodeError as error:
        raise ClosureError(f"{origin} is not valid JSON: {error}") from None
    except InputError as error:
        raise ClosureError(
            f"{origin}: {error}", path=error.path, key=error.key, place=error.place
        ) from None


def _whole(closure: Closure, keys: Sequence[str]) -> Closure:
    """Return the closure of registration text, which has no keys."""
    if keys:
        raise ClosureError(f"registration text has no key {keys[0]!r}; omit the key", key=keys[0])
    return closure


def _infos_of_document(document: Any, keys: Sequence[str]) -> list[PathInfo]:
    reader = _EntryReader()
    if isinstance(document, list):
        if keys:
            raise ClosureError(f"a bare list has no key {keys[0]!r}; omit the key", key=keys[0])
        return [reader.read(entry, f"[{i}]") for i, entry in enumerate(document)]
    if isinstance(document.get("info"), dict) and "version" in document and not keys:
        store_dir = document.get("storeDir", DEFAULT_STORE_DIR)
        return _infos_of_map(document["info"], _EntryReader(store_dir))
    if document and all(key.startswith("/") for key in document) and not keys:
        return _infos_of_map(document, reader)
    return [
        reader.read(entry, f"{key}[{i}]")
        for key in keys or _graph_keys(document)
        for i, entry in enumerate(_graph_of(document, key))
    ]


def _infos_of_map(entries: Mapping[str, Any], reader: _EntryReader) -> list[PathInfo]:
    infos = []
    for path, entry in entries.items():
        if entry is None:
            raise ClosureError(
                f"{path} is not valid in the store that exported the graph", path=path, key=path
            )
        if not isinstance(entry, dict):
            raise ClosureError(
                f"{path}: expected an object, got {type(entry).__name__}", path=path, key=path
            )
        infos.append(reader.read({**entry, "path": path}, path))
    return infos


def _graph_keys(document: Mapping[str, Any]) -> list[str]:
    """Return the keys of all graphs: those that are declared, or else those that look like one."""
    declared = document.get("exportReferencesGraph")
    if isinstance(declared, dict):
        return sorted(declared)
    keys = sorted(key for key, value in document.items() if _looks_like_graph(value))
    if not keys and {"version", "name"} <= document.keys():
        raise ClosureError(
            "it is an image spec, not a reference graph; nixdock build and resolve read specs"
        )
    if not keys:
        raise ClosureError(
            "no reference graph in it: expected a list of {path, narSize, references}, the output"
            f" of {EXPORT_COMMAND}, or a structured-attrs file with exportReferencesGraph"
        )
    return keys


def _graph_of(document: Mapping[str, Any], key: str) -> list[Any]:
    graph = document.get(key)
    if graph is None:
        existing = ", ".join(sorted(document)) or "none"
        raise ClosureError(f"there is no key {key!r}; the keys are: {existing}", key=key)
    if not isinstance(graph, list):
        raise ClosureError(
            f"{key}: expected a list of path infos, got {type(graph).__name__}", key=key
        )
    return graph


def _looks_like_graph(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and "path" in entry for entry in value
    )


class _EntryReader(Struct, frozen=True):
    """Turns JSON path infos into PathInfos, and parses each store path only once."""

    store_dir: str = DEFAULT_STORE_DIR
    _parsed: dict[str, StorePath] = field(default_factory=dict)

    def path(self, text: object) -> StorePath:
        if not isinstance(text, str):
            return StorePath.parse(text)
        parsed = self._parsed.get(text)
        if parsed is None:
            # Newer versions of Nix print base names, and the store directory once.
            parsed = StorePath.parse(text if "/" in text else f"{self.store_dir}/{text}")
            self._parsed[text] = parsed
        return parsed

    def read(self, entry: object, key: str) -> PathInfo:
        if not isinstance(entry, dict):
            raise ClosureError(f"{key}: expected an object, got {type(entry).__name__}", key=key)
        if entry.get("valid") is False:
            raise ClosureError(
                f"{entry.get('path')} is not valid in the store that exported the graph", key=key
            )
        try:
            path = self.path(entry.get("path"))
        except InputError as error:
            raise ClosureError(f"{key}.path: {error}", path=error.path, key=f"{key}.path") from None
        try:
            return PathInfo(
                path=path,
                nar_size=_size(entry.get("narSize", 0)),
                nar_hash=_nar_hash(entry.get("narHash")),
                references=tuple(sorted({self.path(r) for r in _references(entry)})),
                deriver=self._deriver(entry.get("deriver")),
            )
        except InputError as error:
            raise ClosureError(f"{path}: {error}", path=path, key=key) from None

    def _deriver(self, value: object) -> str | None:
        if value in (None, "", "unknown-deriver"):
            return None
        try:
            return str(self.path(value))
        except InputError:
            raise ClosureError(f"deriver must be a store path, not {value!r}") from None


def _size(value: object) -> int:
    # The limit is that of an integer in SQLite, and so of Nix's database.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ClosureError(f"narSize must be a whole number of bytes, not {value!r}")
    return value


def _nar_hash(value: object) -> Hash | None:
    match value:
        case None:
            return None
        case str():
            return Hash.parse(value)
        case {"algorithm": str(algorithm), "hash": str(digits)}:
            return Hash.parse(f"{algorithm}:{digits}")
    raise ClosureError(f"narHash must be a hash, not {value!r}")


def _references(entry: Mapping[str, Any]) -> list[Any]:
    references = entry.get("references")
    if not isinstance(references, list):
        raise ClosureError(f"references must be a list of store paths, not {references!r}")
    return references


def _infos_of_registration(data: bytes) -> list[PathInfo]:
    from nixdock.nix.registration_text import parse_registration  # noqa: PLC0415 (used rarely)

    # Each store path recurs in many records, and is parsed once.
    parse = cache(StorePath.parse)
    infos = []
    for record in parse_registration(data):
        path = parse(record.path)
        try:
            infos.append(
                PathInfo(
                    path=path,
                    nar_size=_size(record.nar_size),
                    nar_hash=Hash.parse(record.nar_hash, "sha256"),
                    references=tuple(sorted({parse(text) for text in record.references})),
                    deriver=parse(record.deriver) if record.deriver else None,
                )
            )
        except InputError as error:
            raise ClosureError(f"{path}: {error}", path=path) from None
    return infos
