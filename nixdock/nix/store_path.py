"""Store paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import InputError

__all__ = ["DATABASE_FILE", "DEFAULT_STORE_DIR", "StorePath", "valid_store_paths"]

DATABASE_FILE: Final = "nix/var/nix/db/db.sqlite"
"""Nix's database, below the root of a file system."""

DEFAULT_STORE_DIR: Final = "/nix/store"

_STORE_PATH: Final = re.compile(
    r"(?P<dir>(?:/(?!\.{1,2}/)[^/\0\n]+)+)"
    r"/(?P<hash>[0-9a-df-np-sv-z]{32})-(?P<name>[0-9a-zA-Z+\-._?=]{1,211})",
    re.ASCII,
)


class StorePath(str):
    """The absolute path of a store object: STORE_DIR/HASH-NAME.

    It is a string, so that it needs no conversion to JSON and sorts and hashes fast. Use `parse`
    to create one from untrusted text.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: object, store_dir: str | None = None) -> StorePath:
        """Return `text` as a store path; raise InputError if it is not one.

        With `store_dir`, also raise InputError if the path is not directly in that directory.
        """
        match = _STORE_PATH.fullmatch(text) if isinstance(text, str) else None
        if match is None or match["name"] in {".", ".."}:
            raise InputError(
                f"{text!r} is not a store path: expected STORE_DIR/HASH-NAME, where HASH is 32"
                " characters of Nix's base32 and NAME at most 211 of 0-9a-zA-Z+-._?=",
                path=text if isinstance(text, str) else None,
            )
        if store_dir is not None and match["dir"] != store_dir:
            raise InputError(f"{text!r} is not in the store {store_dir!r}", path=match.string)
        return cls(text)

    @property
    def store_dir(self) -> str:
        """The store directory, such as /nix/store."""
        return self.rpartition("/")[0]

    @property
    def base_name(self) -> str:
        """The name in the store directory: HASH-NAME."""
        return self.rpartition("/")[2]

    @property
    def hash_part(self) -> str:
        """The hash: 32 characters of Nix's base32."""
        return self.base_name[:32]

    @property
    def name(self) -> str:
        """The name, such as hello-2.12."""
        # Not by way of `base_name`: names are sorted by the hundred thousand.
        return self.rpartition("/")[2][33:]


def valid_store_paths(texts: Iterable[str]) -> Iterator[StorePath]:
    """Yield the texts that are store paths and skip the others."""
    for text in texts:
        try:
            yield StorePath.parse(text)
        except InputError:
            continue
