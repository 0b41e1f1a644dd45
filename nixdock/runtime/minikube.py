"""minikube: a node with Docker, containerd or CRI-O in it, which minikube's own program leads."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import partial

import orjson
from msgspec import Struct

from nixdock.errors import InputError, ToolError
from nixdock.oci.descriptor import Platform
from nixdock.oci.platforms import machine_platform
from nixdock.oci.reference import Reference
from nixdock.runtime.docker import Docker
from nixdock.runtime.docker_daemon import DaemonByProgram
from nixdock.runtime.parts import ImageParts, write_docker_stream
from nixdock.runtime.program import Program, find_program
from nixdock.runtime.runtime import Puller, Receiver, Shortcut

__all__ = ["Minikube"]


class Minikube(Struct, frozen=True):
    """The cluster that `minikube profile` says, or MINIKUBE_PROFILE."""

    program: Program
    name: str = "minikube"
    puller: Puller | None = None
    shortcut: Shortcut | None = None
    loses_names: bool = False

    def platform(self) -> Platform:
        """Return that of the Docker in the node, or that of this machine."""
        docker = self._docker()
        return (
            machine_platform("linux", os.uname().machine) if docker is None else docker.platform()
        )

    def own_name(self, name: Reference) -> Reference:
        """Return the name, which Kubernetes takes as it is."""
        return name

    def identity_of(self, name: Reference) -> str | None:
        """Return that in the Docker in the node, if we can reach it."""
        docker = self._docker()
        return None if docker is None else docker.identity_of(name)

    def document(self, digest: str) -> bytes | None:  # noqa: ARG002 (the interface)
        """Return None: `minikube image` gives out whole images only."""
        return None

    def receivers(self) -> Sequence[Receiver]:
        """Return the Docker in the node, if there is one that we can reach, or `minikube image`."""
        docker = self._docker()
        return (_Loader(self.program) if docker is None else docker,)

    def _docker(self) -> Docker | None:
        try:
            found = orjson.loads(self.program("docker-env", "--output", "json"))
            client = find_program("docker")
        except (ToolError, ValueError):
            return None
        if not isinstance(found, dict):
            return None
        names = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
        environment = {name: str(found[name]) for name in names if name in found}
        # Newer versions imitate a Docker on top of containerd, for `docker build` alone.
        if not environment.get("DOCKER_HOST", "").startswith("tcp:"):
            return None
        inside = Program("docker in minikube", client.words, environment)
        return Docker(program=inside, daemon=DaemonByProgram(inside))

    def run_line(self, name: Reference, *_: object, **__: object) -> list[str]:
        """Raise InputError: Kubernetes runs containers."""
        raise InputError(f"minikube runs no containers; use `kubectl run NAME --image={name}`")


class _Loader(Struct, frozen=True):
    """`minikube image load`, which knows nothing of layers."""

    program: Program

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:  # noqa: ARG002 (the interface)
        return ()

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        write = partial(write_docker_stream, parts=parts, names=names, known=known)
        self.program.feed(write, "image", "load", "-")

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:  # noqa: ARG002 (the same)
        # It does not always fail when the runtime does.
        listed = set(self.program("image", "ls").split())
        for name in names:
            if not listed & {str(name), name.canonical, f"localhost/{name}"}:
                raise ToolError(f"minikube has no image {name} after it was sent")
