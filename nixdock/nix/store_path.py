"""Store paths and the notations of their hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import InputError

__all__ = ["DEFAULT_STORE_DIR", "StorePath"]

DEFAULT_STORE_DIR: Final = "/nix/store"

_STORE_PATH: Final = re.compile(
    r"(?P<dir>(?:/(?!\.{1,2}/)[^/\0\n]+)+)"
    r"/(?P<hash>[0-9a-df-np-sv-z]{32})-(?P<name>[0-9a-zA-Z+\-._?=]{1,211})",
    re.ASCII,
)


class StorePath(str):
    """The absolute path of a store object: STORE_DIR/HASH-NAME.

    A string, so that it is its own JSON and sorts and hashes at full speed; `parse` is what
    makes one from untrusted text.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: object, store_dir: str | None = None) -> StorePath:
        """Check `text` and return it as a store path; raise InputError if it is not one.

        With `store_dir`, the path must lie directly in that directory.
        """
        match = _STORE_PATH.fullmatch(text) if isinstance(text, str) else None
        if match is None or match["name"] in {".", ".."}:
            raise InputError(
                f"{text!r} is not a store path: expected STORE_DIR/HASH-NAME, where HASH is 32"
                " characters of Nix's base32 and NAME at most 211 of 0-9a-zA-Z+-._?="
            )
        if store_dir is not None and match["dir"] != store_dir:
            raise InputError(f"{text!r} does not lie in the store {store_dir!r}")
        return cls(text)

    @property
    def store_dir(self) -> str:
        """The directory that holds the path, such as /nix/store."""
        return self.rpartition("/")[0]

    @property
    def base_name(self) -> str:
        """HASH-NAME."""
        return self.rpartition("/")[2]

    @property
    def hash_part(self) -> str:
        """The 32 characters before the name."""
        return self.base_name[:32]

    @property
    def name(self) -> str:
        """The part after the hash, such as hello-2.12."""
        return self.base_name[33:]


def valid_store_paths(texts: Iterable[str]) -> Iterator[StorePath]:
    """Yield the texts that are store paths; an image may hold other names that look like one."""
    for text in texts:
        try:
            yield StorePath.parse(text)
        except InputError:
            continue
