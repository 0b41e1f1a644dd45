"""Credentials for registries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["login_registry", "logout_registry"]


def login_registry(
    host: str,
    username: str,
    password: str,
    *,
    check: bool = True,
    access: Access | None = None,
) -> Path:
    """Store a user name and password for a registry, and return the file that has them.

    `host` is HOST[:PORT], which may be followed by /NAMESPACE if the credentials are only for a
    part of the registry. Unless `check` is False, the registry is asked first whether it accepts
    them. The file is the one that `podman login` would use; if it names a credential helper, that
    program keeps the password. Raise InputError if an argument or the file is malformed,
    RegistryError if the registry refuses the credentials or can't be asked, OutputError if the file
    can't be written, and ToolError if a credential helper fails.
    """
    from nixdock.registry.auth_file import store_credentials
    from nixdock.registry.credentials import Credentials, encoded
    from nixdock.registry.registry_name import RegistryName

    name = RegistryName.parse(host)
    credentials = Credentials(username, password)
    encoded(credentials)
    if check:
        from nixdock.registry.pull_places import access_to
        from nixdock.registry.transport import Transport

        Transport(name.host, access_to(name, access)).check_login(credentials)
    return store_credentials(name, credentials)


def logout_registry(host: str | None) -> Path:
    """Remove the credentials for a registry from the file of `login_registry`, and return the file.

    `host` is the same as for the login; None stands for all registries. Raise InputError if the
    file has no credentials for `host`, and errors as `login_registry` does.
    """
    from nixdock.registry.auth_file import remove_all_credentials, remove_credentials
    from nixdock.registry.registry_name import RegistryName

    if host is None:
        return remove_all_credentials()
    return remove_credentials(RegistryName.parse(host))
