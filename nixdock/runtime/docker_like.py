"""Docker, and Podman and nerdctl, which have its subcommands."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import takewhile
from typing import Final

from nixdock.errors import ToolError
from nixdock.oci.descriptor import Platform
from nixdock.oci.digests import hex_of
from nixdock.oci.platforms import machine_platform
from nixdock.oci.reference import Reference
from nixdock.runtime.parts import ImageParts, write_docker_stream, write_oci_stream
from nixdock.runtime.program import Program, finish
from nixdock.runtime.runtime import Puller, Receiver

__all__ = ["DockerLike"]

_IMAGES_AT_ONCE: Final = 200
_PLATFORM: Final = "{{.OSType}}/{{.Architecture}}"
_PLATFORM_OF_PODMAN: Final = "{{.Host.OS}}/{{.Host.Arch}}"
# The driver of images that containerd keeps for Docker. They have no layers of their own there.
_CONTAINERD_STORE: Final = "io.containerd.snapshotter"


@dataclass(frozen=True)
class DockerLike:
    """A runtime that `program` leads.

    With `knows_chains`, it keeps each layer by what lies below, and needs no layer of a stream that
    it has there, unless containerd keeps its images. With `has_ids`, the ID of an image is the
    digest of its config, or in containerd that of its manifest. With `has_daemon`, all work is done
    by a daemon, which cleans up when the program ends. `loses_names` is that of `Runtime`.
    """

    name: str
    program: Program
    pull_options: tuple[str, ...] = ()
    knows_chains: bool = False
    has_ids: bool = True
    has_daemon: bool = False
    loses_names: bool = False

    @property
    def puller(self) -> Puller:
        """The program."""
        return self

    def platform(self) -> Platform:
        """Return that of the daemon's machine, or of Podman's."""
        fields = _PLATFORM_OF_PODMAN if self.name == "podman" else _PLATFORM
        os, _, machine = self.program("info", "--format", fields).strip().partition("/")
        return machine_platform(os, machine)

    def receivers(self) -> Sequence[Receiver]:
        """Return this program."""
        return (self,)

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:
        """Fetch an image."""
        # A daemon would ask again for a while.
        way_out = None if self.has_daemon else abandon
        self.program("pull", "--quiet", *self.pull_options, reference, abandon=way_out)

    def tag(self, reference: str, name: Reference) -> None:
        """Give an image another name."""
        self.program("tag", reference, str(name))

    def remove(self, reference: str) -> None:
        """Remove a name."""
        self.program("rmi", reference, abandon=finish)

    def known(self, parts: ImageParts) -> Collection[str]:
        """Return the layers up to the first one that no image has on top of the same ones."""
        if not self.knows_chains or self._is_in_containerd:
            return ()
        most = max((_common(parts.diff_ids, chain) for chain in self._chains()), default=0)
        # A layer further up may be the same blob, but on top of others.
        above = {layer.digest for layer in parts.layers[most:]}
        return {layer.digest for layer in parts.layers[:most]} - above

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image."""
        # containerd would make a manifest for a docker-archive, whose digest then is the ID.
        form = write_oci_stream if self._is_in_containerd else write_docker_stream
        write = partial(form, parts=parts, names=names, known=known)
        self.program.feed(write, "load", "--quiet")

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:
        """Raise ToolError unless the image is there."""
        template = "{{.Id}} {{json .RootFS.Layers}}"
        own = parts.manifest if self._is_in_containerd else parts.config
        for name in names:
            line = self.program("image", "inspect", "--format", template, str(name)).strip()
            identity, _, layers = line.partition(" ")
            is_own = identity.removeprefix("sha256:") == hex_of(own.digest)
            if (self.has_ids and not is_own) or _layers(layers) != parts.diff_ids:
                raise ToolError(f"{self.name} has another image as {name} than the one it was sent")

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """Return the command line of a container."""
        own = ["--rm", "--interactive", *(["--tty"] if terminal else []), "--pull=never"]
        return [*self.program.words, "run", *own, *options, str(name), *arguments]

    @cached_property
    def _is_in_containerd(self) -> bool:
        return self.name == "docker" and _CONTAINERD_STORE in self.program(
            "info", "--format", "{{json .DriverStatus}}"
        )

    def _chains(self) -> Iterator[list[str]]:
        """Give the layers of all images; images that go meanwhile are left out."""
        images = sorted(set(self.program("image", "ls", "--all", "--quiet", "--no-trunc").split()))
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            some = images[start : start + _IMAGES_AT_ONCE]
            try:
                found = self.program(
                    "image", "inspect", "--format", "{{json .RootFS.Layers}}", *some
                )
            except ToolError:
                continue
            yield from map(_layers, found.splitlines())


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return how many layers are the same, from the bottom on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs)))  # noqa: B905


def _layers(text: str) -> list[str]:
    """Return the digests that a runtime prints as JSON, or none if that is something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else []
