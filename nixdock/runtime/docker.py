"""Docker, whose daemon keeps images in its classic store or in containerd.

The classic store needs no layer of a stream that it has on top of the same ones, and takes such a
stream several times as fast as it pulls: of each layer that it has, a pull notes where it is from,
and waits until that is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import takewhile
from typing import Final

from nixdock.oci.reference import Reference
from nixdock.runtime.docker_daemon import Daemon, ListedImage
from nixdock.runtime.docker_like import DockerLike
from nixdock.runtime.load_memory import LoadMemory
from nixdock.runtime.parts import ImageParts, write_docker_stream, write_oci_stream
from nixdock.runtime.passing_name import passing_name
from nixdock.runtime.runtime import Shortcut

__all__ = ["Docker"]

# As much is sent sooner than all images are looked at.
_LITTLE: Final = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Docker(DockerLike):
    """A daemon, for the time in which one image is loaded."""

    name: str = "docker"
    daemon: Daemon = field(repr=False)
    memory: LoadMemory = field(default_factory=LoadMemory.of_user, repr=False)

    @property
    def shortcut(self) -> Shortcut:
        """The daemon."""
        return self

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:  # noqa: ARG002 (the interface)
        """Fetch an image."""
        # The daemon cleans up when the program ends, and would ask again for a while.
        self.program("pull", "--quiet", *self.pull_options, reference)

    def name_again(self, parts: ImageParts, names: Sequence[Reference]) -> bool:
        """Give an image that is there its names; return whether it is."""
        # Neither of the digests can be the ID of anything else.
        identities = {parts.config.digest, parts.manifest.digest}
        there = [each for each in self._images if each.identity in identities]
        own = frozenset[str]().union(*(each.names for each in there))
        for name in names if there else ():
            if str(name) not in own:
                self.daemon.tag(there[0].identity, name)
        return bool(there)

    def known(self, parts: ImageParts, names: Sequence[Reference]) -> Collection[str]:
        """Return the layers up to the first one that no image has on top of the same ones.

        In containerd, return those of images that were sent before.
        """
        if not self._images:
            return ()
        if self._is_in_containerd:
            there = self.memory.layers_of(each.identity for each in self._images)
            return there.intersection(layer.digest for layer in parts.layers)
        wanted = {str(name) for name in names}
        own = {each.identity for each in self._images if each.names & wanted}
        found = self._known(parts, own)
        if own and parts.size_without(found) <= _LITTLE:
            return found
        others = {each.identity for each in self._images} - own
        return max(found, self._known(parts, others), key=len)

    def receive(
        self, parts: ImageParts, names: Sequence[Reference], known: Collection[str]
    ) -> None:
        """Take an image."""
        if not self._is_in_containerd:
            stream = partial(write_docker_stream, parts=parts, names=names, known=known)
            self.daemon.load(stream)
            return
        with passing_name(lambda name: self.remove(str(name))) as passing:
            # For a docker-archive, containerd would make a manifest, whose digest then is the ID.
            stream = partial(write_oci_stream, parts=parts, names=[passing], known=known)
            self.daemon.load(stream)
            for name in names:
                self.daemon.tag(str(passing), name)

    def identity(self, parts: ImageParts) -> str:
        """Return the ID that an image has if it is there: in containerd, its manifest's digest."""
        return parts.manifest.digest if self._is_in_containerd else parts.config.digest

    def found(self, name: Reference) -> tuple[str, list[str]]:
        """Return the ID and the layers of an image that is there."""
        return self.daemon.image(str(name))

    def check(self, parts: ImageParts, names: Sequence[Reference]) -> None:
        """Raise ToolError unless the image is there."""
        super().check(parts, names)
        if self._is_in_containerd:
            self.memory.add(parts.manifest.digest, [layer.digest for layer in parts.layers])

    @cached_property
    def _images(self) -> Sequence[ListedImage]:
        return self.daemon.images()

    @cached_property
    def _is_in_containerd(self) -> bool:
        pulled = [each for each in self._images if each.names]
        if pulled:
            # There, what an image is pulled by is its ID.
            return any(each.identity in each.digests for each in pulled)
        return self.daemon.is_in_containerd()

    def _known(self, parts: ImageParts, images: Iterable[str]) -> Collection[str]:
        chains = self.daemon.chains(sorted(images))
        most = max((_common(parts.diff_ids, chain) for chain in chains), default=0)
        # A layer further up may be the same blob, but on top of others.
        above = {layer.digest for layer in parts.layers[most:]}
        return {layer.digest for layer in parts.layers[:most]} - above


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return how many layers are the same, from the bottom on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs)))  # noqa: B905
