"""A repository of a registry."""

from __future__ import annotations

from msgspec import Struct

from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.request import Scope
from nixdock.registry.transport import Transport

__all__ = ["Repository"]


class Repository(Struct, frozen=True):
    """A repository, and the connections to its registry.

    If it is to be pushed to, its tokens allow that from the first request on: one does for all, and
    registries tell only those who may push that a repository does not exist yet.
    """

    transport: Transport
    name: str
    is_target: bool = False

    @property
    def host(self) -> str:
        """The host of the registry."""
        return self.transport.host

    @property
    def place(self) -> str:
        """The host and the name, for messages."""
        return f"{self.host}/{self.name}"

    def path(self, kind: str, name: str) -> str:
        """Return the path of a manifest, a blob or a list (distribution-spec, "Endpoints")."""
        return f"/v2/{self.name}/{kind}/{name}"

    def pulling(self) -> Scope:
        """Return what a request that reads needs."""
        return Scope(self.name, push=self.is_target)

    def pushing(self, mount_from: str = "") -> Scope:
        """Return what a request that writes needs; blobs may be mounted from another repository."""
        return Scope(self.name, push=True, mount_from=mount_from)

    def reference(self, name: str) -> RegistryReference:
        """Return the reference to a manifest by its tag or digest."""
        is_digest = ":" in name
        return RegistryReference(
            self.host, self.name, None if is_digest else name, name if is_digest else None
        )
