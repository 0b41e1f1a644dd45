"""Opening stores with caches of tests, without waiting and without the user's settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.registry.access import Access
from nixdock.stores.local import LocalStore
from nixdock.stores.opening import StoreChoice, open_stores
from nixdock.stores.several import Stores
from nixdock.tar.header import Entry
from tests.unit.network.clock import Clock

from .sample_cache import KEY

__all__ = ["contents_of", "open_sample"]


def open_sample(
    urls: Iterable[str] | str,
    *,
    keys: Iterable[str] = (KEY,),
    check: bool = True,
    root: str = "/none",
    environment: dict[str, str] | None = None,
    **settings: Any,
) -> Stores:
    """Open stores that trust the key of the sample, and nothing of the machine."""
    urls = [urls] if isinstance(urls, str) else urls
    given: dict[str, Any] = {"timeout": 30.0, "pace": Clock().pace(), "find": lambda *_: None}
    return open_stores(
        StoreChoice(tuple(urls), tuple(keys), check),
        Access(**given | settings),
        {"NIX_CONF_DIR": "/none", **(environment or {})},
        LocalStore(root),
    )


def contents_of(
    stores: Stores, path: StorePath, nar_hash: Hash | None = None
) -> list[tuple[Entry, bytes]]:
    """Return the entries of a path without what they are read from, and what is read."""
    found = []
    for entry in stores.entries(path, nar_hash):
        if entry.source and entry.kind == b"0":
            data = Path(entry.source.decode()).read_bytes()
        else:
            data = b""
            while len(data) < entry.size and entry.content is not None:
                data += entry.content.read(entry.size)
        found.append((entry._replace(source=b"", content=None), data))
    return found
