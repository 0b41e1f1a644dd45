"""Docker, whose daemon keeps images in its classic store or in containerd.

The classic store needs no layer of a stream that it has on top of the same ones, and takes such a
stream several times as fast as it pulls: of each layer that it has, a pull notes where it is from,
and waits until that is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import takewhile
from typing import Final

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.docker_like import DockerLike, layers_in
from nixdock.runtime.parts import ImageParts, write_oci_stream
from nixdock.runtime.runtime import Shortcut

__all__ = ["Docker"]

_IMAGES_AT_ONCE: Final = 200
_LISTED: Final = "{{.ID}} {{.Digest}} {{.Repository}}:{{.Tag}}"
_NAMELESS: Final = "<none>:<none>"
# The driver of images in containerd. They have no layers of their own there.
_CONTAINERD_STORE: Final = "io.containerd.snapshotter"
# As much is sent sooner than all images are looked at.
_LITTLE: Final = 32_000_000


@dataclass(frozen=True)
class _Listed:
    """An image in the daemon: its ID, and perhaps a name and the digest that it was pulled by."""

    identity: str
    digest: str
    name: str


@dataclass(frozen=True)
class Docker(DockerLike):
    """A daemon, for the time in which one image is loaded."""

    @property
    def shortcut(self) -> Shortcut:
        """The daemon."""
        return self

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:  # noqa: ARG002 (the interface)
        """Fetch an image."""
        # The daemon cleans up when the program ends, and would ask again for a while.
        self.program("pull", "--quiet", *self.pull_options, reference)

    def identity(self, parts: ImageParts) -> str:
        """Return the ID that an image has if it is there: in containerd, its manifest's digest."""
        return parts.manifest.digest if self._is_in_containerd else parts.config.digest

    def name_again(self, parts: ImageParts, names: Sequence[Reference]) -> bool:
        """Give an image that is there its names; return whether it is."""
        listed = self._images
        identities = {each.identity for each in listed}
        # Neither can be the digest of anything else.
        for identity in (parts.config.digest, parts.manifest.digest):
            if identity in identities:
                own = {each.name for each in listed if each.identity == identity}
                for name in names:
                    if str(name) not in own:
                        self.tag(identity, name)
                return True
        return False

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:
        """Return the layers up to the first one that no image has on top of the same ones."""
        if not self._images or self._is_in_containerd:
            return ()
        own: set[str] = set()
        others: set[str] = set()
        for each in self._images:
            (own if each.name in map(str, names) else others).add(each.identity)
        found = self._known(parts, own)
        if own and parts.size_without(found) <= _LITTLE:
            return found
        return max(found, self._known(parts, others), key=len)

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image."""
        if self._is_in_containerd:
            # For a docker-archive, containerd would make a manifest, whose digest then is the ID.
            write = partial(write_oci_stream, parts=parts, names=names, known=known)
            self.program.feed(write, "load", "--quiet")
        else:
            super().receive(parts, names, known)

    @cached_property
    def _images(self) -> Sequence[_Listed]:
        options = ("--all", "--digests", "--no-trunc", "--format", _LISTED)
        lines = self.program("image", "ls", *options).splitlines()
        return [_Listed(*fields) for line in lines if len(fields := line.split(" ", 2)) == 3]

    @cached_property
    def _is_in_containerd(self) -> bool:
        named = [each for each in self._images if each.name != _NAMELESS]
        if named:
            # There, what an image is pulled by is its ID.
            return any(each.identity == each.digest for each in named)
        return _CONTAINERD_STORE in self.program("info", "--format", "{{json .DriverStatus}}")

    def _known(self, parts: ImageParts, images: Iterable[str]) -> Collection[str]:
        chains = self._chains(sorted(images))
        most = max((_common(parts.diff_ids, chain) for chain in chains), default=0)
        # A layer further up may be the same blob, but on top of others.
        above = {layer.digest for layer in parts.layers[most:]}
        return {layer.digest for layer in parts.layers[:most]} - above

    def _chains(self, images: Sequence[str]) -> Iterator[list[str]]:
        """Give the layers of images; those that go meanwhile are left out."""
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            some = images[start : start + _IMAGES_AT_ONCE]
            try:
                found = self.program(
                    "image", "inspect", "--format", "{{json .RootFS.Layers}}", *some
                )
            except ToolError:
                continue
            yield from map(layers_in, found.splitlines())


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return how many layers are the same, from the bottom on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs)))  # noqa: B905
