"""Package keys: the part of a store path's name that an update of the package keeps.

A name such as openssl-3.0.13-dev consists of the package openssl, its version 3.0.13 and its output
dev. If a closure contains several paths of one package and output, an ordinal tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nixdock.layering.reach import name_then_path

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["package_keys", "split_name", "version_of"]


def split_name(name: str) -> tuple[str, str, str]:
    """Return the package, version and output of a store path's name; missing parts are empty."""
    package, version, output = name, "", ""
    # As builtins.parseDrvName does it: the version starts after the first dash before a digit.
    for at in _dashes(name):
        if name[at + 1 : at + 2].isdigit():
            package, version = name[:at], name[at + 1 :]
            break
    head, dash, tail = version.rpartition("-")
    if dash and tail.isalpha():
        version, output = head, tail
    return package, version, output


def _dashes(name: str) -> Iterable[int]:
    at = name.find("-", 1)
    while at > 0:
        yield at
        at = name.find("-", at + 1)


def version_of(path: StorePath) -> str:
    """Return the version in the path's name; it may be empty."""
    return split_name(path.name)[1]


def package_keys(paths: Iterable[StorePath]) -> dict[str, StorePath]:
    """Return the paths by package, output and ordinal: "openssl", "openssl-dev", "openssl#1"."""
    keys: dict[str, StorePath] = {}
    counts: dict[str, int] = {}
    for path in sorted(paths, key=name_then_path):
        package, _version, output = split_name(path.name)
        key = f"{package}-{output}" if output else package
        ordinal = counts.get(key, 0)
        counts[key] = ordinal + 1
        keys[f"{key}#{ordinal}" if ordinal else key] = path
    return keys
