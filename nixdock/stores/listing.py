"""Listings of NARs: what is in a store path without its contents, as caches have it in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from nixdock.errors import StoreError
from nixdock.nix.nar_entry import NarEntry

__all__ = ["parse_listing"]

_VERSION: Final = 1
_MOST_SIZE: Final = 2**63 - 1


def parse_listing(data: bytes, place: str) -> list[NarEntry]:
    """Parse a listing, the file HASH.ls of a cache, into the entries that its NAR has.

    Raise StoreError, with `place`, if it is not valid.
    """
    try:
        document = orjson.loads(data)
        return list(_entries(document["version"], document["root"]))
    except KeyError as error:
        reason = f"it lacks {error}"
    except (TypeError, AttributeError):
        reason = "an object or a string in it is something else"
    except ValueError as error:
        reason = str(error)
    raise StoreError(f"{place} is not a valid listing: {reason}", place=place)


def _entries(version: Any, root: Any) -> Iterator[NarEntry]:
    if version != _VERSION:
        raise ValueError(f"its version is not {_VERSION}")
    pending: list[tuple[bytes, Any]] = [(b"", root)]
    while pending:
        path, node = pending.pop()
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
            prefix = path + b"/" if path else b""
            pending += [(prefix + name, child) for name, child in sorted(children, reverse=True)]
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
