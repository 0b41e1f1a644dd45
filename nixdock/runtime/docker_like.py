"""What has the subcommands of Docker: nerdctl, and what Docker and Podman have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from nixdock.errors import ToolError
from nixdock.oci.descriptor import Platform
from nixdock.oci.digests import hex_of
from nixdock.oci.platforms import machine_platform
from nixdock.oci.reference import Reference
from nixdock.runtime.docker_daemon import DaemonByProgram
from nixdock.runtime.parts import ImageParts, write_docker_stream
from nixdock.runtime.program import Program, finish
from nixdock.runtime.runtime import Puller, Receiver, Shortcut

__all__ = ["DockerLike"]

_PLATFORM: Final = "{{.OSType}}/{{.Architecture}}"


@dataclass(frozen=True)
class DockerLike:
    """A runtime that `program` leads.

    With `has_ids`, the ID of an image is the digest of its config. `loses_names` is that of
    `Runtime`.
    """

    name: str
    program: Program
    pull_options: tuple[str, ...] = ()
    has_ids: bool = True
    loses_names: bool = False

    @property
    def puller(self) -> Puller | None:
        """The program."""
        return self

    @property
    def shortcut(self) -> Shortcut | None:
        """Nothing."""
        return None

    def platform(self) -> Platform:
        """Return that of the daemon's machine."""
        return self._platform(_PLATFORM)

    def _platform(self, fields: str) -> Platform:
        os, _, machine = self.program("info", "--format", fields).strip().partition("/")
        return machine_platform(os, machine)

    def own_name(self, name: Reference) -> Reference:
        """Return the name that an image has there."""
        return name

    def identity_of(self, name: Reference) -> str | None:
        """Return the ID of the image with that name, or None if there is none."""
        try:
            identity, _ = self.found(name)
        except ToolError:
            return None
        # Podman leaves out the algorithm.
        return f"sha256:{identity.removeprefix('sha256:')}"

    def document(self, digest: str) -> bytes | None:  # noqa: ARG002 (the interface)
        """Return None: of a config, they tell only what they know themselves."""
        return None

    def receivers(self) -> Sequence[Receiver]:
        """Return this program."""
        return (self,)

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:
        """Fetch an image."""
        self.program("pull", "--quiet", *self.pull_options, reference, abandon=abandon)

    def tag(self, reference: str, name: Reference) -> None:
        """Give an image another name."""
        self.program("tag", reference, str(self.own_name(name)))

    def remove(self, reference: str) -> None:
        """Remove a name."""
        self.program("rmi", reference, abandon=finish)

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:  # noqa: ARG002 (the interface)
        """Return nothing: it takes no image without all of its layers."""
        return ()

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image."""
        own = [self.own_name(name) for name in names]
        write = partial(write_docker_stream, parts=parts, names=own, known=known)
        self.program.feed(write, "load", "--quiet")

    def identity(self, parts: ImageParts) -> str:
        """Return the ID that an image has if it is there."""
        return parts.config.digest

    def found(self, name: Reference) -> tuple[str, list[str]]:
        """Return the ID and the layers of an image that is there."""
        return DaemonByProgram(self.program).image(str(self.own_name(name)))

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:
        """Raise ToolError unless the image is there."""
        wanted = hex_of(self.identity(parts))
        for name in names:
            identity, layers = self.found(name)
            is_own = identity.removeprefix("sha256:") == wanted
            if (self.has_ids and not is_own) or layers != parts.diff_ids:
                raise ToolError(f"{self.name} has another image as {name} than the one it was sent")

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """Return the command line of a container."""
        own = ["--rm", "--interactive", *(["--tty"] if terminal else []), "--pull=never"]
        image = str(self.own_name(name))
        return [*self.program.words, "run", *own, *options, image, *arguments]
