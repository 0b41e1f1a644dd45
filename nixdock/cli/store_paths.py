"""Store paths that are given by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock import InputError, StorePath
from nixdock.layering.package_keys import split_name
from nixdock.system.text import listed

__all__ = ["member_named", "members_named", "path_named", "store_path_at"]

_SHORTEST_HASH: Final = 4
_MOST_LISTED: Final = 10


def path_named(text: str, paths: Collection[StorePath]) -> StorePath:
    """Return the store path that `text` stands for among `paths`.

    It is the path itself, HASH-NAME, the name, the name without its version, or the start of the
    hash; the first of these that any path matches counts. A complete store path may also be outside
    of `paths`. Raise InputError if no path or more than one matches.
    """
    if text.startswith("/"):
        return StorePath.parse(text)
    found = _matching(text, paths)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{text!r} is the name of {len(found)} store paths; give HASH-NAME of one:"
            f" {listed([path.base_name for path in found], _MOST_LISTED)}"
        )
    raise InputError(
        f"{text!r} is neither a store path nor the name of one in the closure{_hint(text, paths)}"
    )


def store_path_at(text: str) -> StorePath:
    """Return the store path `text`, or the one to which it leads, as the link `result` does.

    Raise InputError if it is neither.
    """
    try:
        return StorePath.parse(text)
    except InputError:
        if not text or not os.path.lexists(text):
            raise
        # Unlike `Path.resolve`, this leaves links that lead in a circle as they are.
        file = Path(os.path.realpath(text))
        for path in (file, *file.parents):
            with suppress(InputError):
                return StorePath.parse(str(path))
        raise


def member_named(text: str, paths: Collection[StorePath]) -> StorePath:
    """Return what `path_named` returns; raise InputError also if it is not one of `paths`."""
    path = path_named(text, paths)
    if path in paths:
        return path
    similar = [p.base_name for p in paths if p.name == path.name]
    hint = f"; it contains {listed(similar, _MOST_LISTED)}" if similar else ""
    raise InputError(f"{path} is not in the closure{hint}", path=path)


def members_named(texts: Iterable[str], paths: Collection[StorePath]) -> list[StorePath]:
    """Return what `member_named` returns for each of `texts`."""
    return [member_named(text, paths) for text in texts]


def _matching(text: str, paths: Collection[StorePath]) -> list[StorePath]:
    """Return the paths that match in the first way in which any path matches, in order."""
    ways = (
        [path for path in paths if text in {path.base_name, path.name}],
        [path for path in paths if text == _unversioned(path)],
        [path for path in paths if len(text) >= _SHORTEST_HASH and path.hash_part.startswith(text)],
    )
    return sorted(next(filter(None, ways), []))


def _unversioned(path: StorePath) -> str:
    """Return the name without the version, such as openssl-dev for openssl-3.0.13-dev."""
    package, _, output = split_name(path.name)
    return f"{package}-{output}" if output else package


def _hint(text: str, paths: Collection[StorePath]) -> str:
    names = {name: path for path in sorted(paths) for name in (path.name, _unversioned(path))}
    similar = dict.fromkeys(names[name] for name in difflib.get_close_matches(text, names))
    return f"; did you mean {' or '.join(path.base_name for path in similar)}?" if similar else ""
