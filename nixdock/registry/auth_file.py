"""Writing the credential file for login and logout: whole, private, and one process at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from nixdock.errors import InputError, NixdockError, OutputError
from nixdock.registry.auth_document import AuthDocument, fitting, read_json, read_source
from nixdock.registry.auth_sources import RUN, AuthSource, auth_sources, login_file
from nixdock.registry.credential_helper import helper_of
from nixdock.registry.credentials import Credentials, encoded, has_credentials
from nixdock.registry.registry_name import RegistryName
from nixdock.system.atomic import whole_file
from nixdock.system.presence import exists, is_directory, is_file

__all__ = ["remove_all_credentials", "remove_credentials", "store_credentials"]

log = logging.getLogger(__name__)

_FORMAT = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def store_credentials(
    name: RegistryName,
    credentials: Credentials,
    *,
    environment: Mapping[str, str] = os.environ,
    run: Path = RUN,
) -> Path:
    """Store a user name and password for `name`, in place of earlier ones, and return the file.

    If the file names a credential helper for the host, that program keeps the password. Raise
    InputError if the file is damaged or the credentials can't be used, OutputError if the file
    can't be written, and ToolError if the helper fails.
    """
    entry = encoded(credentials)
    file = login_file(environment, run=run)
    helper = helper_of(_document(file), file, name.host, environment)
    if helper is not None:
        if name.namespace:
            raise InputError(
                f"{helper.program}, which {file} names, keeps credentials for whole registries:"
                f" log in to {name.host}, or name another file in REGISTRY_AUTH_FILE",
                path=file,
            )
        helper.store(credentials.username, credentials.password)
        entry = {}

    _change(file, lambda auths: _without(auths, name) | {str(name): entry})
    return file


def remove_credentials(
    name: RegistryName, *, environment: Mapping[str, str] = os.environ, run: Path = RUN
) -> Path:
    """Remove the credentials for `name` from the file for logins, and return the file.

    Warn if other files have credentials for it. Raise InputError if the file has none, and errors
    as `store_credentials` does.
    """
    file = login_file(environment, run=run)
    document = _document(file)
    helper = None if name.namespace else helper_of(document, file, name.host, environment)
    erased = helper is not None and helper.erase()
    others = [*_others(name, file, environment, run)]
    also = f"; {others[0]} has some: remove them with the program that wrote it" if others else ""
    auths = document.auths or {}
    if _without(auths, name) != auths:
        _change(file, lambda auths: _without(auths, name))
    elif not erased:
        raise InputError(f"{file} has no credentials for {name}{also}", path=file)
    if others:
        log.warning("%s still has credentials for %s", others[0], name)
    return file


def remove_all_credentials(*, environment: Mapping[str, str] = os.environ, run: Path = RUN) -> Path:
    """Remove all credentials from the file for logins and from its helpers; return the file.

    The settings in the file stay. Raise errors as `store_credentials` does.
    """
    file = login_file(environment, run=run)
    document = _document(file)
    keys = [*(document.auths or {}), *(document.cred_helpers or {})]
    for host in dict.fromkeys(RegistryName.of_key(key).host for key in keys):
        helper = helper_of(document, file, host, environment)
        if helper is not None:
            helper.erase()
    if document.auths:
        _change(file, lambda _: {})
    return file


def _document(file: Path) -> AuthDocument:
    return read_source(AuthSource(file)) or AuthDocument()


def _without(auths: Mapping[str, Any], name: RegistryName) -> dict[str, Any]:
    """Return the entries whose key does not mean `name`, in any spelling."""
    return {key: entry for key, entry in auths.items() if RegistryName.of_key(key) != name}


def _others(
    name: RegistryName, written: Path, environment: Mapping[str, str], run: Path
) -> Iterator[Path]:
    """Give the other files that have credentials for `name`; damaged ones do not matter here."""
    for source in auth_sources(environment, run=run):
        if source.file != written:
            with suppress(NixdockError):
                document = read_source(source)
                if document is not None and has_credentials(document, source, name):
                    yield source.file


def _change(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the entries in `file` by what `change` makes of them; all other keys stay.

    Nobody else changes the file meanwhile.
    """
    _make_private_directories(file.parent)
    file = _real_file(file)
    with _locked(file):
        document = read_json(file) or {}
        fitting(document, AuthDocument, file)
        document["auths"] = change(document.get("auths") or {})
        with whole_file(file, 0o600) as writer:
            writer.write(orjson.dumps(document, option=_FORMAT))


def _make_private_directories(directory: Path) -> None:
    try:
        # Path.mkdir would give the parents the usual mode.
        for each in reversed([directory, *directory.parents]):
            if not is_directory(each):
                each.mkdir(0o700, exist_ok=True)
    except OSError as error:
        message = f"can't create {directory}: {error.strerror}"
        raise OutputError(message, path=directory) from None


def _real_file(file: Path) -> Path:
    """Return the file itself if `file` is a symlink, such as one to a directory of settings.

    Raise OutputError if the link is somebody else's, who would choose where the password goes, or
    if it is no regular file.
    """
    try:
        if file.is_symlink():
            if file.lstat().st_uid not in {0, os.geteuid()}:
                message = f"{file} is a symlink that belongs to another user; name another file"
                raise OutputError(message, path=file)
            file = file.resolve(strict=False)
        if exists(file) and not is_file(file):
            raise OutputError(f"{file} is not a regular file; name another", path=file)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its symlinks lead in a circle"
        raise OutputError(f"can't write {file}: {reason}", path=file) from None
    return file


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other processes of nixdock from changing `file`.

    The lock is a file of its own, because `file` is replaced, and it stays: who removes a lock file
    may remove the one for which another process already waits.
    """
    lock = file.with_name(f".{file.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(lock, flags, 0o600)
    except OSError as error:
        raise OutputError(f"can't lock {file}: {lock}: {error.strerror}", path=file) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutputError(f"can't lock {file}: {lock} is not a regular file", path=file)
        # Some file systems have no locks. There, the file is still replaced as a whole.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
