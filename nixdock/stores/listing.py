"""Listings of NARs: what is in a store path without its contents, as caches have it in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from nixdock.errors import StoreError
from nixdock.nix.nar_entry import MOST_PATH, NarEntry

__all__ = ["gathered", "parse_listing"]

_VERSION: Final = 1
_MOST_SIZE: Final = 2**63 - 1
# Small values take far more memory than bytes; a file has about five.
_MOST_VALUES: Final = 5_000_000
# The paths of all files: each repeats those of its directories.
_MOST_PATHS: Final = 128 << 20


def parse_listing(data: bytes, place: str) -> list[NarEntry]:
    """Parse a listing, the file HASH.ls of a cache, into the entries that its NAR has.

    Raise StoreError, with `place`, if it is not valid.
    """
    try:
        _check_values(data)
        document = orjson.loads(data)
        return gathered(_entries(document["version"], document["root"]))
    except KeyError as error:
        reason = f"it lacks {error}"
    except (TypeError, AttributeError):
        reason = "an object or a string in it is something else"
    except ValueError as error:
        reason = str(error)
    raise StoreError(f"{place} is not a valid listing: {reason}", place=place)


def _check_values(data: bytes) -> None:
    if data.count(b",") + data.count(b"{") + data.count(b"[") > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES} values")


def gathered(entries: Iterable[NarEntry]) -> list[NarEntry]:
    """Return the entries as a list; raise ValueError if their paths have too many bytes in all."""
    left = _MOST_PATHS
    found = []
    for entry in entries:
        left -= len(entry.path)
        if left < 0:
            raise ValueError(f"the paths in it have more than {_MOST_PATHS} bytes in all")
        found.append(entry)
    return found


def _entries(version: Any, root: Any) -> Iterator[NarEntry]:
    if version != _VERSION:
        raise ValueError(f"its version is not {_VERSION}")
    # With the prefix apart: it may be long, and is the same for all of a directory.
    pending: list[tuple[bytes, bytes, Any]] = [(b"", b"", root)]
    while pending:
        prefix, name, node = pending.pop()
        path = prefix + name
        if len(path) > MOST_PATH:
            raise ValueError(f"a path in it has more than {MOST_PATH} bytes")
        kind = node["type"]
        if kind == "regular":
            yield NarEntry(path, "regular", node.get("executable") is True, _size(node["size"]))
        elif kind == "symlink":
            target = node["target"].encode()
            if not target or 0 in target:
                raise ValueError("the target of a symlink is empty, or has a NUL in it")
            yield NarEntry(path, "symlink", target=target)
        elif kind == "directory":
            yield NarEntry(path, "directory")
            children = [(_name(name), child) for name, child in node["entries"].items()]
            children.sort(key=lambda each: each[0], reverse=True)
            below = path + b"/" if path else b""
            pending += [(below, name, child) for name, child in children]
        else:
            raise ValueError(f"the type {kind!r} is not known")


def _name(text: str) -> bytes:
    name = text.encode()
    if name in {b"", b".", b".."} or set(name) & {0, 47}:
        raise ValueError(f"{text!r} can't be the name of a file")
    return name


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_SIZE:
        raise ValueError(f"{value!r} is not the size of a file")
    return value
