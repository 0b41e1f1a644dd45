"""containerd, also where Kubernetes has it: with k3s, and in the nodes of kind."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError, ToolError
from nixdock.oci.descriptor import Platform
from nixdock.oci.platforms import parse_platform
from nixdock.oci.reference import Reference
from nixdock.runtime.parts import ImageParts, write_oci_stream
from nixdock.runtime.passing_name import passing_name
from nixdock.runtime.program import Program, find_program, finish
from nixdock.runtime.runtime import Puller, Receiver, Shortcut

__all__ = ["Containerd", "Kind"]

_ROLE: Final = '{{index .Config.Labels "io.x-k8s.kind.role"}}'
_BALANCER: Final = "external-load-balancer"
_PLATFORM: Final = re.compile(r"\b(linux|windows)/[a-z0-9]+(/v[0-9]+)?")
_DIGEST: Final = re.compile(r"\bsha256:[0-9a-f]{64}\b")
# With fewer, four loads at once that give the same name had an error now and then.
_TRIES_TO_TAG: Final = 10
_BETWEEN: Final = re.compile(r"already exists|not found")
_SNAPSHOTTER: Final = re.compile(r"snapshotter\s*=\s*[\"']([a-z0-9-]+)[\"']")


class Containerd(Struct, frozen=True):
    """containerd by its program, ctr; CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE say which.

    `options` are those with which it imports images.
    """

    name: str
    ctr: Program
    options: tuple[str, ...] = ()
    shortcut: Shortcut | None = None
    loses_names: bool = False

    @property
    def puller(self) -> Puller:
        """The program: it fetches what it pulls by itself."""
        return self

    def platform(self) -> Platform:
        """Return the platform that its plugins run containers for."""
        # TYPE, ID, PLATFORMS, STATUS
        found = _PLATFORM.search(self.ctr("plugins", "ls"))
        return Platform() if found is None else parse_platform(found[0])

    def own_name(self, name: Reference) -> Reference:
        """Return the name with a host: ctr takes no other."""
        return Reference.parse(name.canonical)

    def identity_of(self, name: Reference) -> str | None:
        """Return the digest of the manifest or index with that name, or None if there is none."""
        try:
            # REF, TYPE, DIGEST
            found = _DIGEST.search(self.ctr("images", "ls", f"name=={name.canonical}"))
        except ToolError:
            return None
        return None if found is None else found[0]

    def document(self, digest: str) -> bytes | None:
        """Return a blob that is a text, or None if there is none."""
        try:
            return self.ctr("content", "get", digest).encode()
        except ToolError:
            return None

    def receivers(self) -> Sequence[Receiver]:
        """Return this program."""
        return (self,)

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:
        """Fetch an image."""
        self.ctr("images", "pull", "--plain-http", reference, abandon=abandon)

    def tag(self, reference: str, name: Reference) -> None:
        """Give an image another name."""
        # ctr takes a name away before it gives it again, so another program may come between.
        for _ in range(_TRIES_TO_TAG - 1):
            try:
                return self._tag(reference, name)
            except ToolError as error:
                if _BETWEEN.search(str(error)) is None:
                    raise
        return self._tag(reference, name)

    def _tag(self, reference: str, name: Reference) -> None:
        self.ctr("images", "tag", "--force", reference, name.canonical)

    def remove(self, reference: str) -> None:
        """Remove a name."""
        self.ctr("images", "rm", reference, abandon=finish)

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:  # noqa: ARG002 (the interface)
        """Return the layers whose blobs are there."""
        there = set(self.ctr("content", "ls", "--quiet").split())
        return there.intersection(layer.digest for layer in parts.layers)

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image."""
        with passing_name(lambda name: self.remove(name.canonical)) as passing:
            write = partial(write_oci_stream, parts=parts, names=[passing], known=known)
            self.ctr.feed(write, "images", "import", *self.options, "-")
            for name in names:
                self.tag(passing.canonical, name)

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:
        """Raise ToolError unless the image is there."""
        for name in names:
            # REF, TYPE, DIGEST, STATUS such as `complete (5/5)`, SIZE, UNPACKED
            found = self.ctr("images", "check", f"name=={name.canonical}")
            if re.search(rf"\s{parts.manifest.digest}\s+complete \(", found) is None:
                raise ToolError(f"{self.name} has not all of {name} that it was sent")

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """Return the command line of a container."""
        own = ["--rm", *(["--tty"] if terminal else [])]
        container = f"nixdock-{secrets.token_hex(6)}"
        return [*self.ctr.words, "run", *own, *options, name.canonical, container, *arguments]


@dataclass(frozen=True)
class Kind:
    """The nodes of a cluster that kind has made: containers with a containerd in each.

    KIND_CLUSTER_NAME says which cluster, and KIND_EXPERIMENTAL_PROVIDER where its nodes are.
    """

    program: Program
    name: str = "kind"
    puller: Puller | None = None
    shortcut: Shortcut | None = None
    loses_names: bool = False

    def platform(self) -> Platform:
        """Return that of the first node."""
        return self.receivers()[0].platform()

    def own_name(self, name: Reference) -> Reference:
        """Return the name, which Kubernetes takes as it is."""
        return name

    def identity_of(self, name: Reference) -> str | None:
        """Return that in the first node."""
        return self.receivers()[0].identity_of(name)

    def document(self, digest: str) -> bytes | None:
        """Return that in the first node."""
        return self.receivers()[0].document(digest)

    def receivers(self) -> Sequence[Containerd]:
        """Return the nodes that run containers."""
        return self._nodes

    @cached_property
    def _nodes(self) -> Sequence[Containerd]:
        names = self.program("get", "nodes").split()
        nodes = [found for name in names if (found := _node(name)) is not None]
        if not nodes:
            raise ToolError(
                "kind has no nodes; create a cluster with `kind create cluster`, or name it in"
                " KIND_CLUSTER_NAME"
            )
        return nodes

    def run_line(self, name: Reference, *_: object, **__: object) -> list[str]:
        """Raise InputError: Kubernetes runs containers."""
        raise InputError(f"kind runs no containers; use `kubectl run NAME --image={name}`")


def _node(name: str) -> Containerd | None:
    """Return the containerd in a node, or None for a load balancer."""
    engine, role = _engine_of(name)
    if role == _BALANCER:
        return None
    inside = engine.within(f"kind's node {name}:", "exec", "--interactive", name)
    ctr = inside.within(f"kind's node {name}: ctr", "ctr", "--namespace=k8s.io")
    found = _SNAPSHOTTER.search(inside("containerd", "config", "dump"))
    options = (f"--snapshotter={found[1]}",) if found else ()
    return Containerd("kind", ctr, options)


def _engine_of(node: str) -> tuple[Program, str]:
    """Return the engine that has a node as a container, and what the node is there for."""
    chosen = os.environ.get("KIND_EXPERIMENTAL_PROVIDER")
    problems = []
    for name in (chosen,) if chosen else ("docker", "podman", "nerdctl"):
        try:
            engine = find_program(name)
            return engine, engine("inspect", "--format", _ROLE, node).strip()
        except ToolError as error:
            problems.append(str(error))
    raise ToolError(f"kind's node {node} is nowhere: {'; '.join(problems)}")
