"""Where credential files are: those that are read, in their order, and the one that is written."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.system.presence import is_directory

__all__ = ["RUN", "AuthSource", "auth_sources", "home_directory", "login_file"]

RUN: Final = Path("/run")
"""The directory for the state of programs since the system's start."""

_AUTH_FILE: Final = Path("containers/auth.json")


class AuthSource(Struct, frozen=True):
    """A credential file; a `flat` one, as Docker wrote them before 2015, has entries alone."""

    file: Path
    flat: bool = False


def auth_sources(
    environment: Mapping[str, str], *, run: Path = RUN, user: int | None = None
) -> list[AuthSource]:
    """Return the files in which the credentials of `user` may be, in the order of the search.

    The order is that of containers-auth.json(5). `run` is used if there is no XDG_RUNTIME_DIR; the
    default user is that of this process.
    """
    return [*_sources(environment, run, os.getuid() if user is None else user)]


def login_file(environment: Mapping[str, str], *, run: Path = RUN, user: int | None = None) -> Path:
    """Return the file to which credentials of `user` are written, as `podman login` chooses it.

    If the directory for runtime files does not exist, it is the file below XDG_CONFIG_HOME. Raise
    InputError if there is no place at all.
    """
    user = os.getuid() if user is None else user
    if explicit := environment.get("REGISTRY_AUTH_FILE"):
        return Path(explicit).absolute()
    file = _runtime_file(environment, run, user)
    if _directory(environment, "XDG_RUNTIME_DIR"):
        needed = file.parent.parent
    else:
        # Root creates its directory in /run, as podman does; others can't.
        needed = file.parent if user else run
    if is_directory(needed):
        return file
    config = _config_directory(environment, user)
    if config is None:
        raise InputError(
            "there is no place for credentials: the user has neither a runtime directory nor a home"
            " directory; name a file in REGISTRY_AUTH_FILE"
        )
    return config / _AUTH_FILE


def _sources(environment: Mapping[str, str], run: Path, user: int) -> Iterator[AuthSource]:
    if explicit := environment.get("REGISTRY_AUTH_FILE"):
        yield AuthSource(Path(explicit).absolute())
    runtime = _runtime_file(environment, run, user)
    if _may_be_searched(runtime.parent):
        yield AuthSource(runtime)
    if config := _config_directory(environment, user):
        yield AuthSource(config / _AUTH_FILE)
    home = home_directory(environment, user)
    if docker := environment.get("DOCKER_CONFIG"):
        yield AuthSource(Path(docker).absolute() / "config.json")
    elif home:
        yield AuthSource(home / ".docker/config.json")
    if home:
        yield AuthSource(home / ".dockercfg", flat=True)


def _may_be_searched(directory: Path) -> bool:
    """Return False if there may be files that this user can't see, as in /run/containers of root.

    The directory need not exist.
    """
    nearest = next((each for each in (directory, *directory.parents) if is_directory(each)), None)
    return nearest is None or os.access(nearest, os.X_OK)


def _runtime_file(environment: Mapping[str, str], run: Path, user: int) -> Path:
    session = _directory(environment, "XDG_RUNTIME_DIR")
    return session / _AUTH_FILE if session else run / "containers" / str(user) / "auth.json"


def _config_directory(environment: Mapping[str, str], user: int) -> Path | None:
    home = home_directory(environment, user)
    return _directory(environment, "XDG_CONFIG_HOME") or (home / ".config" if home else None)


def home_directory(environment: Mapping[str, str], user: int | None = None) -> Path | None:
    """Return the home directory of `user`, by default the user of this process."""
    if home := _directory(environment, "HOME"):
        return home
    try:
        return Path(pwd.getpwuid(os.getuid() if user is None else user).pw_dir)
    except KeyError:
        return None


def _directory(environment: Mapping[str, str], name: str) -> Path | None:
    """Return the directory in a variable; the XDG specification says to ignore relative ones."""
    path = Path(environment.get(name, ""))
    return path if path.is_absolute() else None
