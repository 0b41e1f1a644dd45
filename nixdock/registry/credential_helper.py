"""Credential helpers: the programs `docker-credential-NAME`, which keep credentials elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import orjson

from nixdock.errors import InputError, ToolError
from nixdock.oci.registry_reference import DOCKER_HUB
from nixdock.registry.auth_document import AuthDocument, matching_keys
from nixdock.registry.registry_name import RegistryName
from nixdock.system.commands import run_command
from nixdock.system.text import shown

__all__ = ["CredentialHelper", "Secret", "helper_of"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_DOCKER_HUB_SERVERS: Final = ("https://index.docker.io/v1/", DOCKER_HUB)
_NOT_FOUND: Final = b"credentials not found"
# A helper may ask its user to unlock something.
_MOST_SECONDS: Final = 300
_MOST_OUTPUT: Final = 1 << 20


class Secret(msgspec.Struct, frozen=True):
    """What a helper keeps for a server."""

    username: str = msgspec.field(name="Username", default="")
    secret: str = msgspec.field(name="Secret", default="")

    def __repr__(self) -> str:
        """Return no values."""
        return "Secret(...)"


@dataclass(frozen=True, slots=True)
class CredentialHelper:
    """The helper that a credential file names for a registry.

    `servers` are names by which it may know the registry, the usual one first, `for_host` says
    whether it is for this registry alone, and `environment` is that in which it runs. A call raises
    ToolError, which quotes no output, if the program is missing or fails.
    """

    name: str
    file: Path
    servers: tuple[str, ...]
    for_host: bool
    environment: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        # A name with a slash would run a program that is not in PATH.
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"the credential file {self.file} names the credential helper"
                f" {shown(self.name)!r}: expected letters, digits, '.', '_' and '-'",
                path=self.file,
            )

    @property
    def program(self) -> str:
        """The name of the program, which is in PATH."""
        return f"docker-credential-{self.name}"

    def get(self) -> Secret | None:
        """Return what the helper keeps for the registry, or None if that is nothing."""
        for server in self.servers:
            output = self._run("get", server.encode(), server)
            if output is not None and (secret := self._secret(output, server)).secret:
                return secret
        return None

    def store(self, username: str, secret: str) -> None:
        """Let the helper keep credentials for the registry."""
        server = self.servers[0]
        request = {"ServerURL": server, "Username": username, "Secret": secret}
        if self._run("store", orjson.dumps(request), server) is None:
            raise self._error("refused the credentials", server)

    def erase(self) -> bool:
        """Let the helper forget the credentials for the registry; return whether it had any."""
        found = [self._run("erase", server.encode(), server) for server in self.servers]
        return any(output is not None for output in found)

    def _secret(self, output: bytes, server: str) -> Secret:
        if len(output) <= _MOST_OUTPUT:
            try:
                return msgspec.convert(orjson.loads(output), Secret)
            except (orjson.JSONDecodeError, msgspec.ValidationError):
                pass
        raise self._error("printed something else than credentials", server)

    def _run(self, action: str, request: bytes, server: str) -> bytes | None:
        """Return the output of a call, or None if the helper has no credentials for `server`."""
        try:
            result = run_command(
                [self.program, action],
                environment=self.environment,
                standard_input=request,
                timeout=_MOST_SECONDS,
            )
        except ToolError as error:
            message = f"{error} ({self.file} names it for {server})"
            raise ToolError(message, path=self.program) from None
        if result.status == 0:
            return result.output
        if _NOT_FOUND in (result.output + result.error_output).lower():
            return None
        raise self._error(f"{action} failed with exit status {result.status}", server)

    def _error(self, fault: str, server: str) -> ToolError:
        message = (
            f"{self.program} {fault} for {server}; run it by hand to see why, or remove it from"
            f" {self.file}"
        )
        return ToolError(message, path=self.program)


def helper_of(
    document: AuthDocument, file: Path, host: str, environment: Mapping[str, str]
) -> CredentialHelper | None:
    """Return the helper that keeps the credentials for `host`, or None if the file does.

    An empty name for the host means the file, whatever the helper for all hosts is. Raise
    InputError if the file names a helper in a wrong way.
    """
    helpers = document.cred_helpers or {}
    keys = matching_keys(helpers, RegistryName(host))
    name = helpers[keys[0]] if keys else document.creds_store
    if not name:
        return None
    # The programs that call a helper give it the name that is in the file.
    usual = _DOCKER_HUB_SERVERS if host == DOCKER_HUB else (host,)
    servers = tuple(dict.fromkeys([*keys, *usual]))
    return CredentialHelper(name, file, servers, bool(keys), environment)
