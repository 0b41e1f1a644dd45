"""The URLs of binary caches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.system.text import shown

__all__ = ["CacheUrl"]

_SCHEMES: Final = frozenset({"https", "http", "file"})
_NUMBER: Final = re.compile("-?[0-9]{1,9}", re.ASCII)


class CacheUrl(Struct, frozen=True):
    """The URL of a cache, without a slash at its end.

    `priority` takes the place of the cache's own; a `trusted` cache needs no signatures.
    """

    url: str
    priority: int | None = None
    trusted: bool = False

    @classmethod
    def parse(cls, text: str) -> CacheUrl:
        """Parse a URL as Nix takes it for a substituter, with the settings that concern reading.

        Raise InputError if it is not https, http or file, or has a password in it.
        """
        try:
            split = urlsplit(text)
            _ = split.port
        except ValueError:
            raise InputError(f"{shown(text)!r} is not the URL of a binary cache") from None
        if split.scheme not in _SCHEMES:
            raise InputError(
                f"{shown(text)!r} is not the URL of a binary cache: expected https://HOST[/PATH],"
                " http://HOST[/PATH] or file:///DIRECTORY"
            )
        if split.username is not None or split.password is not None:
            raise InputError(
                f"the URL of the binary cache {shown(split.hostname or '')} has a username or a"
                " password in it; put them into the netrc file that nix.conf names"
            )
        is_file = split.scheme == "file"
        if is_file == bool(split.netloc) or (is_file and not split.path.startswith("/")):
            raise InputError(f"{shown(text)!r} names no {'directory' if is_file else 'host'}")
        if split.fragment:
            raise InputError(f"the URL {shown(text)!r} has a fragment, {shown(split.fragment)!r}")
        settings = dict(parse_qsl(split.query, keep_blank_values=True))
        priority = settings.get("priority")
        if priority is not None and not _NUMBER.fullmatch(priority):
            raise InputError(f"the priority of {shown(text)!r} is not a number")
        # All others concern writing, or the network, for which there are options.
        path = split.path.rstrip("/")
        return cls(
            f"{split.scheme}://{split.netloc.lower()}{path}",
            None if priority is None else int(priority),
            settings.get("trusted") in {"1", "true"},
        )

    @property
    def directory(self) -> Path | None:
        """The directory of a cache in files."""
        is_file = self.url.startswith("file:")
        return Path(unquote(urlsplit(self.url).path) or "/") if is_file else None

    def __str__(self) -> str:
        return self.url
