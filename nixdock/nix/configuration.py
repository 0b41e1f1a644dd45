"""Settings of Nix that concern binary caches, from the files and variables where it has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError

__all__ = ["NixSettings", "nix_settings"]

_DEFAULT_KEY: Final = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
_KEYS: Final = "trusted-public-keys"
_REQUIRED: Final = "require-sigs"
_FALSE: Final = frozenset({"false", "no", "0"})
_ALIASES: Final = {"binary-cache-public-keys": _KEYS}
_MOST_INCLUDES: Final = 20


class NixSettings(Struct, frozen=True):
    """The keys that Nix trusts, as NAME:BASE64, and the file with passwords for caches.

    Unless `require_signatures` is set, Nix takes paths that nobody has signed.
    """

    trusted_public_keys: tuple[str, ...]
    netrc_file: Path
    require_signatures: bool = True


def nix_settings(environment: Mapping[str, str]) -> NixSettings:
    """Read nix.conf, the user's own, and NIX_CONFIG; raise InputError if one can't be read.

    Files that do not exist say nothing.
    """
    directory = Path(environment.get("NIX_CONF_DIR") or "/etc/nix")
    values = {_KEYS: _DEFAULT_KEY, "netrc-file": str(directory / "netrc"), _REQUIRED: "true"}
    for file in (directory / "nix.conf", *reversed(list(_user_files(environment)))):
        _apply(values, _lines_of(file, missing_ok=True))
    _apply(values, _lines(environment.get("NIX_CONFIG", ""), Path(), 0))
    return NixSettings(
        trusted_public_keys=tuple(values[_KEYS].split()),
        netrc_file=Path(values["netrc-file"]),
        require_signatures=values[_REQUIRED] not in _FALSE,
    )


def _user_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the user's files, of which the first has the last word."""
    if files := environment.get("NIX_USER_CONF_FILES"):
        yield from map(Path, filter(None, files.split(":")))
        return
    home = environment.get("HOME", "")
    own = environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    others = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    for directory in filter(os.path.isabs, [own, *others.split(":")]):
        yield Path(directory, "nix/nix.conf")


def _apply(values: dict[str, str], lines: Iterator[tuple[str, str]]) -> None:
    for key, value in lines:
        extra = key.startswith("extra-")
        name = key.removeprefix("extra-")
        name = _ALIASES.get(name, name)
        if name in values:
            values[name] = f"{values[name]} {value}" if extra else value


def _lines_of(file: Path, depth: int = 0, *, missing_ok: bool) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        if missing_ok:
            return
        raise InputError(f"Nix's configuration {file} does not exist", path=file) from None
    except OSError as error:
        message = f"can't read Nix's configuration {file}: {error.strerror}"
        raise InputError(message, path=file) from None
    yield from _lines(text, file.parent, depth)


def _lines(text: str, directory: Path, depth: int) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] in {"include", "!include"}:
            if depth == _MOST_INCLUDES:
                raise InputError(f"Nix's configuration includes too many files: {words[1]}")
            missing_ok = words[0] == "!include"
            yield from _lines_of(directory / words[1], depth + 1, missing_ok=missing_ok)
        elif len(words) >= 2 and words[1] == "=":
            yield words[0], " ".join(words[2:])
