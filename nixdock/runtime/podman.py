"""Podman, by its own program or by Docker's, which its service answers, too."""

from __future__ import annotations

from typing import Final

from nixdock.oci.descriptor import Platform
from nixdock.oci.reference import Reference
from nixdock.runtime.docker_like import DockerLike
from nixdock.runtime.program import Program
from nixdock.runtime.runtime import Puller

__all__ = ["Podman", "PodmanService"]

_PLATFORM: Final = "{{.Host.OS}}/{{.Host.Arch}}"


class Podman(DockerLike):
    """Podman by its own program.

    An image that is given a name without a host gets the host localhost. But who asks for such a
    name gets another image first, if there is one under the name that the configuration has for it:
    `python` is short for `docker.io/library/python`.
    """

    @classmethod
    def by(cls, program: Program) -> Podman:
        """Return the Podman that a program is."""
        # It reads the names of an image, and later writes all of them.
        return cls("podman", program, ("--tls-verify=false",), loses_names=True)

    def platform(self) -> Platform:
        """Return that of its machine."""
        return self._platform(_PLATFORM)

    def own_name(self, name: Reference) -> Reference:
        """Return the name with a host."""
        return name if name.has_host else Reference(f"localhost/{name.repository}", name.tag)


class PodmanService(DockerLike):
    """Podman's service by the program of Docker, for which names without a host are Docker Hub's.

    It takes the names in an archive for its own, though, which are those of `Podman`.
    """

    @classmethod
    def by(cls, program: Program) -> PodmanService:
        """Return the service that a program asks."""
        return cls("docker", program, loses_names=True)

    @property
    def puller(self) -> Puller | None:
        """Nothing: it pulls with HTTPS, and Docker's program has no option to change that."""
        return None

    def own_name(self, name: Reference) -> Reference:
        """Return the name with a host."""
        return Reference.parse(name.canonical)
