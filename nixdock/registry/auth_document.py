"""The contents of credential files: reading them, and what belongs to a registry in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson

from nixdock.errors import InputError
from nixdock.registry.auth_sources import AuthSource
from nixdock.registry.registry_name import RegistryName
from nixdock.system.typed import MisfitError, convert

__all__ = ["AuthDocument", "fitting", "matching_keys", "read_json", "read_source"]

_Typed = TypeVar("_Typed")


class AuthDocument(msgspec.Struct, frozen=True):
    """The keys of a credential file that nixdock uses; entries are checked when they are used."""

    auths: dict[str, Any] | None = None
    cred_helpers: dict[str, str] | None = msgspec.field(name="credHelpers", default=None)
    creds_store: str | None = msgspec.field(name="credsStore", default=None)

    def __repr__(self) -> str:
        """Return no values, because they are secrets."""
        return "AuthDocument(...)"


def matching_keys(keys: Iterable[str], name: RegistryName, *, flat: bool = False) -> list[str]:
    """Return those of `keys` whose credentials are for `name`, the most specific first.

    Of keys for the same name, those that are written like it come before URLs.
    """
    found = [
        ((-len(named.namespace), key != str(named), "://" in key), key)
        for key in keys
        if (named := RegistryName.of_key(key, flat=flat)).covers(name)
    ]
    return [key for _, key in sorted(found, key=lambda item: item[0])]


def read_json(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a credential file, empty for an empty file, None without a file.

    Raise InputError, which quotes nothing of the file, if it can't be read or is damaged.
    """
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"can't read the credential file {file}: {error.strerror}"
        raise InputError(message, path=file) from None
    if not data.strip():
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # The position alone: the error itself holds all secrets of the file.
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(_damaged(file, f"is not valid JSON ({place})"), path=file) from None
    if not isinstance(value, dict):
        raise InputError(_damaged(file, "is not a JSON object"), path=file)
    return value


def read_source(source: AuthSource) -> AuthDocument | None:
    """Return what is in a credential file, or None if there is no such file.

    Raise InputError, which quotes nothing of the file, if it can't be read or is damaged.
    """
    value = read_json(source.file)
    if value is None or source.flat:
        return None if value is None else AuthDocument(auths=value)
    return fitting(value, AuthDocument, source.file)


def fitting(value: object, kind: type[_Typed], file: Path, key: str = "") -> _Typed:
    """Convert the value at `key` of a credential file to `kind`; raise InputError if it can't."""
    try:
        return convert(value, kind)
    except MisfitError as error:
        place = ".".join(filter(None, (key, error.key)))
        message = _damaged(file, f"is malformed: {place}: {error.message}")
        raise InputError(message, path=file, key=place) from None


def _damaged(file: Path, fault: str) -> str:
    return f"the credential file {file} {fault}; correct it, or remove it and log in again"
