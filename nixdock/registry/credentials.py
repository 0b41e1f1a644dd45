"""Credentials for registries, and finding them where Docker, podman and skopeo keep them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from nixdock.errors import InputError
from nixdock.registry.auth_document import AuthDocument, fitting, matching_keys, read_source
from nixdock.registry.auth_sources import RUN, AuthSource, auth_sources
from nixdock.registry.credential_helper import CredentialHelper, helper_of
from nixdock.registry.registry_name import RegistryName, checked_host

__all__ = ["Credentials", "encoded", "find_credentials", "has_credentials"]

# A helper gives this name to an identity token.
_TOKEN: Final = "<token>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's password, or an identity token in its place; neither appears in the repr.

    `origin` says where they come from, for messages; it does not count in comparisons.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    origin: str = field(default="", compare=False)


class _Entry(msgspec.Struct, frozen=True):
    """The credentials for one key of a credential file."""

    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None

    def __repr__(self) -> str:
        return "_Entry(...)"


def find_credentials(
    host: str,
    repository: str = "",
    *,
    environment: Mapping[str, str] = os.environ,
    run: Path = RUN,
) -> Credentials | None:
    """Return the user's credentials for `repository` of the registry `host`, or None.

    The first file that has some decides, and in it the key that names most of the repository. No
    key of another host or port is ever used. Raise InputError if a file is damaged, ToolError if a
    credential helper fails.
    """
    name = RegistryName(checked_host(host), repository)
    for source in auth_sources(environment, run=run):
        document = read_source(source)
        if document is not None:
            found = _in_document(document, source, name, environment)
            if found is not None:
                return found
    return None


def has_credentials(document: AuthDocument, source: AuthSource, name: RegistryName) -> bool:
    """Return whether the entries of a file have credentials for `name`; ask no helper."""
    return any(_from_entries(document, source, name))


def encoded(credentials: Credentials) -> dict[str, str]:
    """Return the entry of a credential file for a user name and password.

    Raise InputError if HTTP's basic authentication can't transmit them (RFC 7617).
    """
    username, password = credentials.username, credentials.password
    if not username or not password:
        missing = "password" if username else "user name"
        raise InputError(f"the {missing} is empty; give one")
    if ":" in username:
        raise InputError("the user name contains a colon, which registries can't accept")
    try:
        data = f"{username}:{password}".encode()
    except UnicodeEncodeError:
        raise InputError("the user name or the password is not UTF-8 text") from None
    if any(ord(c) < 32 or ord(c) == 127 for c in username + password):
        raise InputError(
            "the user name or the password contains a control character, such as a second line"
        )
    return {"auth": base64.b64encode(data).decode()}


def _in_document(
    document: AuthDocument,
    source: AuthSource,
    name: RegistryName,
    environment: Mapping[str, str],
) -> Credentials | None:
    helper = helper_of(document, source.file, name.host, environment)
    if helper is not None:
        found = _from_helper(helper)
        # If a host has its own helper, its entries are not used: containers-auth.json(5).
        if found or helper.for_host:
            return found
    return next(_from_entries(document, source, name), None)


def _from_helper(helper: CredentialHelper) -> Credentials | None:
    kept = helper.get()
    if kept is None:
        return None
    origin = f"{helper.program}, which {helper.file} names"
    if kept.username == _TOKEN:
        return Credentials(identity_token=kept.secret, origin=origin)
    return Credentials(kept.username, kept.secret, origin=origin)


def _from_entries(
    document: AuthDocument, source: AuthSource, name: RegistryName
) -> Iterator[Credentials]:
    """Give the credentials of all entries for `name`, the most specific first."""
    entries = document.auths or {}
    for key in matching_keys(entries, name, flat=source.flat):
        found = _decoded(entries[key], source, key)
        if found.username or found.password or found.identity_token:
            yield found


def _decoded(value: Any, source: AuthSource, key: str) -> Credentials:
    """Return the credentials of an entry, which are empty if a helper keeps them."""
    place = key if source.flat else f"auths[{key!r}]"
    entry = fitting(value, _Entry, source.file, place)
    username, password = entry.username or "", entry.password or ""
    if entry.auth:
        username, password = _user_and_password(entry.auth, source, f"{place}.auth")
    return Credentials(username, password, entry.identitytoken or "", str(source.file))


def _user_and_password(auth: str, source: AuthSource, place: str) -> tuple[str, str]:
    fault = ""
    try:
        text = base64.b64decode("".join(auth.split()), validate=True).decode()
        username, colon, password = text.partition(":")
        fault = "" if colon else "has no colon between user name and password"
    except ValueError:
        fault = "is not text in base64"
    if fault:
        message = f"{place} of the credential file {source.file} {fault}; log in again"
        raise InputError(message, path=source.file, key=place)
    # Docker once filled passwords up with null bytes.
    return username, password.rstrip("\0")
