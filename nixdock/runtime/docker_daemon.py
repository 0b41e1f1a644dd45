"""What Docker's daemon is asked for, through its program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import orjson
from msgspec import Struct

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.program import Program
from nixdock.system.buffers import Write

__all__ = ["CONTAINERD_STORE", "NONE", "Daemon", "DaemonByProgram", "ListedImage", "layers_in"]

CONTAINERD_STORE: Final = "io.containerd.snapshotter"
"""The start of the name of the driver, if containerd keeps the images."""

NONE: Final = "<none>"
"""What stands for the name or the digest that an image lacks."""

_IMAGES_AT_ONCE: Final = 200
_LISTED: Final = "{{.ID}} {{.Digest}} {{.Repository}}:{{.Tag}}"


class ListedImage(Struct, frozen=True):
    """An image of a daemon: its ID, its names, and the digests that it was pulled by."""

    identity: str
    names: frozenset[str]
    digests: frozenset[str]


class Daemon(Protocol):
    """A daemon; methods raise ToolError with what it says, or if it does not answer."""

    def images(self) -> Sequence[ListedImage]:
        """Return all images; one may be there several times, with other names."""

    def chains(self, identities: Sequence[str]) -> Iterator[list[str]]:
        """Give the layers of images; those that go meanwhile are left out."""

    def image(self, name: str) -> tuple[str, list[str]]:
        """Return the ID and the layers of an image."""

    def is_in_containerd(self) -> bool:
        """Tell whether it keeps images in containerd."""

    def tag(self, identity: str, name: Reference) -> None:
        """Give an image another name."""

    def load(self, write_stream: Callable[[Write], object]) -> None:
        """Take the images in an archive, which `write_stream` writes."""


class DaemonByProgram(Struct, frozen=True):
    """The daemon that Docker's program finds, wherever it is."""

    program: Program

    def images(self) -> Sequence[ListedImage]:
        """Return all images, once for each name."""
        options = ("--all", "--digests", "--no-trunc", "--format", _LISTED)
        lines = self.program("image", "ls", *options).splitlines()
        found = [fields for line in lines if len(fields := line.split(" ", 2)) == 3]
        return [
            ListedImage(
                identity,
                frozenset([name] if NONE not in name else []),
                frozenset([digest] if digest != NONE else []),
            )
            for identity, digest, name in found
        ]

    def chains(self, identities: Sequence[str]) -> Iterator[list[str]]:
        """Give the layers of images."""
        for start in range(0, len(identities), _IMAGES_AT_ONCE):
            some = identities[start : start + _IMAGES_AT_ONCE]
            options = ("--format", "{{json .RootFS.Layers}}")
            try:
                found = self.program("image", "inspect", *options, *some)
            except ToolError:
                continue
            yield from map(layers_in, found.splitlines())

    def image(self, name: str) -> tuple[str, list[str]]:
        """Return the ID and the layers of an image."""
        template = "{{.Id}} {{json .RootFS.Layers}}"
        line = self.program("image", "inspect", "--format", template, name).strip()
        identity, _, layers = line.partition(" ")
        return identity, layers_in(layers)

    def is_in_containerd(self) -> bool:
        """Tell whether it keeps images in containerd."""
        return CONTAINERD_STORE in self.program("info", "--format", "{{json .DriverStatus}}")

    def tag(self, identity: str, name: Reference) -> None:
        """Give an image another name."""
        self.program("tag", identity, str(name))

    def load(self, write_stream: Callable[[Write], object]) -> None:
        """Take the images in an archive."""
        self.program.feed(write_stream, "load", "--quiet")


def layers_in(text: str) -> list[str]:
    """Return the digests that a program prints as JSON, or none if that is something else."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else []
