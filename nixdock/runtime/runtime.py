"""What a runtime can do with images: two ways to get one there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from nixdock.oci.descriptor import Platform
from nixdock.oci.reference import Reference
from nixdock.runtime.parts import ImageParts

__all__ = ["Puller", "Receiver", "Runtime", "Shortcut"]


class Puller(Protocol):
    """What fetches images from a registry; methods raise ToolError with what the program says."""

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:
        """Fetch an image from a registry of this machine, which has no HTTPS.

        `abandon` makes the registry refuse everything, for programs that clean up after an error,
        but not after a signal.
        """

    def tag(self, reference: str, name: Reference) -> None:
        """Give an image another name, which may have been that of another image."""

    def remove(self, reference: str) -> None:
        """Remove a name, and the image if it has no other one, also while being interrupted."""


class Receiver(Protocol):
    """What takes images as streams; methods raise ToolError with what the program says."""

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:
        """Return the digests of layers that may be left out of the stream.

        `names` are the names that the image will get; an image with such a name has most of them.
        """

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image, without the layers that are `known`, under all of `names`."""

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:
        """Raise ToolError unless the image is there as a whole, under all of `names`."""


class Shortcut(Receiver, Protocol):
    """What takes a stream faster than it pulls, if it has a part of the image."""

    def name_again(self, parts: ImageParts, names: Sequence[Reference]) -> bool:
        """Give an image that is there as a whole all of `names`; return whether it is."""


class Runtime(Protocol):
    """A container runtime, as far as images go."""

    @property
    def name(self) -> str:
        """One of RUNTIMES."""

    @property
    def puller(self) -> Puller | None:
        """What pulls images from this machine, or None if it can't reach it."""

    @property
    def shortcut(self) -> Shortcut | None:
        """What is faster than a pull, or None."""

    @property
    def loses_names(self) -> bool:
        """Whether names get lost that an image is given by several programs at once."""

    def platform(self) -> Platform:
        """Return the platform of its own machine; raise ToolError if it does not answer."""

    def own_name(self, name: Reference) -> Reference:
        """Return the name by which its own program finds an image that was given `name`."""

    def identity_of(self, name: Reference) -> str | None:
        """Return by which digest it knows the image with that name, or None if there is none.

        It is the digest of the config, the manifest or the index. None is also for no answer.
        """

    def document(self, digest: str) -> bytes | None:
        """Return a config, a manifest or an index, or None if it has none or gives out none."""

    def receivers(self) -> Sequence[Receiver]:
        """Return all that have to receive an image; raise ToolError if there is none."""

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """Return the command line that runs a container and removes it in the end.

        Raise InputError if the runtime runs no containers by itself.
        """
