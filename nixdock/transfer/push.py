"""Pushing an image that is being built: what a registry has already is neither read nor sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import ImageError, RegistryError
from nixdock.layers.compression import Compression
from nixdock.layers.known import existing_layers, known_layers
from nixdock.layers.known_cache import KnownCache
from nixdock.layers.layer import Layer
from nixdock.layers.pack import pack_each
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.registry.manifests import is_blob_unknown
from nixdock.system.parallel import map_in_threads
from nixdock.transfer.destination import Outcome
from nixdock.transfer.known import Known
from nixdock.transfer.push_target import PushTarget
from nixdock.transfer.pushed import PushedImage, PushedLayer
from nixdock.transfer.uploads import Uploads
from nixdock.write.buildable import Buildable

__all__ = ["Pushing", "push_build"]

log = logging.getLogger(__name__)

_LOOKUPS: Final = 6


class Pushing(Struct, frozen=True):
    """How to push: `compression` is that of new layers, packed on `cores`.

    With `verify_known`, layers that are known are packed all the same, and compared. With
    `dry_run`, nothing is sent, not even mounted. `use_cache` says whether the user's cache of known
    layers is used, and `use_memory` whether a spec with the strategy `stable` that names no
    previous image continues the plans of the images that are replaced. `platform`, as
    OS/ARCHITECTURE[/VARIANT], and `all_platforms` say what is pushed of an index that exists.
    Without `tags`, the image of a spec is stored by its digest alone, although it continues what
    the tags stand for.
    """

    compression: Compression = Compression.GZIP
    cores: int | None = None
    verify_known: bool = False
    dry_run: bool = False
    use_cache: bool = True
    use_memory: bool = True
    platform: str | None = None
    all_platforms: bool = False
    tags: bool = True


def push_build(
    build: Buildable,
    targets: Sequence[PushTarget],
    known: Known,
    pushing: Pushing,
    *,
    cache: KnownCache,
    progress: Progress = NO_PROGRESS,
) -> PushedImage:
    """Send an image to all targets: layers, config, manifest and attachments, and tags last.

    `known` are the blobs that may be taken over without packing. Raise what `Layer.pack` and the
    requests to the registries raise; a tag is then what it was.
    """
    return _Push(build, tuple(targets), known, pushing, cache, progress).run()


class _Push:
    def __init__(
        self,
        build: Buildable,
        targets: tuple[PushTarget, ...],
        known: Known,
        pushing: Pushing,
        cache: KnownCache,
        progress: Progress,
    ) -> None:
        self._layers: Sequence[Layer] = build.layers
        self._assemble = build.assemble
        self._targets = targets
        self._known = known
        self._pushing = pushing
        self._cache = cache
        self._progress = progress
        self._packed: dict[int, LayerBlob] = {}
        self._read = 0
        self._sent = 0
        # By layer, then by target.
        self._outcomes: list[dict[str, Outcome]] = [{} for _ in self._layers]

    def run(self) -> PushedImage:
        expected = known_layers(self._layers, self._pushing.compression, self._known.blobs)
        expected |= existing_layers(self._layers, expected)
        if self._pushing.verify_known:
            self._verify(expected)
        blobs = dict(expected)
        self._settle(expected)
        blobs |= self._send([i for i in range(len(self._layers)) if self._missing(i)], expected)
        image = self._assemble([blobs[i] for i in range(len(self._layers))])
        for target in self._targets:
            self._finish(target, image, blobs)
        # What only manifests say must not get into the cache, which other pushes trust.
        places = [target.place for target in self._targets]
        own = self._packed.keys() & blobs.keys()
        self._cache.add([blobs[i] for i in own], places)
        self._cache.add([blobs[i] for i in blobs if i not in own], places, new=False)
        layers = (
            PushedLayer.of(blob, outcomes)
            for (_, blob), outcomes in zip(sorted(blobs.items()), self._outcomes, strict=True)
        )
        references = (f"{target.place}@{image.root.digest}" for target in self._targets)
        return PushedImage(
            image.root.digest,
            tuple(references),
            tuple(layers),
            self._read,
            self._sent,
            attachments=image.attachments,
            manifest=image.manifest,
        )

    def _verify(self, expected: Mapping[int, LayerBlob]) -> None:
        """Pack the layers that are known; raise ImageError if one is not what it should be."""
        chosen = [i for i in expected if self._layers[i].key is not None]
        compression, cores = self._pushing.compression, self._pushing.cores
        for i, blob in pack_each(self._layers, chosen, None, compression, cores, self._progress):
            self._read += blob.tar_size or 0
            wrong = expected[i]
            if _described(blob) != _described(wrong):
                homes = ", ".join(self._known.homes.get(wrong.digest, ())) or "the cache"
                raise ImageError(
                    f"layer {i + 1}, {self._layers[i].history.comment}: {homes} says that its blob"
                    f" is {wrong.digest} with {wrong.size} bytes, but it is {blob.digest} with"
                    f" {blob.size}{_other_annotations(blob, wrong)}",
                    place=homes,
                    digest=wrong.digest,
                )

    def _settle(self, expected: Mapping[int, LayerBlob]) -> None:
        """Find out which blobs the targets have, or take over from other repositories."""
        pairs = [(i, blob, target) for i, blob in expected.items() for target in self._targets]
        outcomes = map_in_threads(lambda pair: self._settled(pair[1], pair[2]), pairs, _LOOKUPS)
        for (i, _, target), outcome in zip(pairs, outcomes, strict=True):
            if outcome is not None:
                self._outcomes[i][target.place] = outcome
        for i, blob in expected.items():
            if not self._missing(i):
                self._progress.known(i, blob)

    def _settled(self, blob: LayerBlob, target: PushTarget) -> Outcome | None:
        homes = self._homes(blob)
        return target.settled(blob.digest, homes, dry_run=self._pushing.dry_run)

    def _homes(self, blob: LayerBlob) -> list[str]:
        """Return the repositories that are said to have a blob."""
        cached = None if blob.key is None else self._cache.find(blob.key)
        is_same = cached is not None and cached.blob.digest == blob.digest
        own = self._known.homes.get(blob.digest, {})
        return [*own, *(cached.repositories if cached is not None and is_same else ())]

    def _missing(self, i: int) -> list[PushTarget]:
        return [target for target in self._targets if target.place not in self._outcomes[i]]

    def _send(
        self, chosen: Sequence[int], expected: Mapping[int, LayerBlob]
    ) -> dict[int, LayerBlob]:
        """Pack layers and upload each to the targets that lack it, while others are packed."""
        packed: dict[int, LayerBlob] = {}
        compression, cores = self._pushing.compression, self._pushing.cores
        with Uploads(dry_run=self._pushing.dry_run) as uploads:
            for i, blob in pack_each(
                self._layers, chosen, uploads.directory, compression, cores, self._progress
            ):
                packed[i] = self._packed[i] = blob
                self._read += blob.tar_size or 0
                if i in expected and expected[i].digest != blob.digest:
                    log.warning(
                        "layer %d is not %s, as a manifest or the cache says, but %s",
                        i + 1,
                        expected[i].digest,
                        blob.digest,
                    )
                    self._outcomes[i].clear()
                uploads.start(i, blob, self._missing(i), self._homes(blob))
                for done in uploads.finished():
                    self._note(done.number, packed[done.number], done.outcomes)
            for done in uploads.rest():
                self._note(done.number, packed[done.number], done.outcomes)
            self._sent += uploads.sent
        return packed

    def _note(self, i: int, blob: LayerBlob, outcomes: Mapping[str, Outcome]) -> None:
        self._outcomes[i].update(outcomes)
        self._progress.packed(i, blob)

    def _finish(self, target: PushTarget, image: Image, blobs: dict[int, LayerBlob]) -> None:
        """Let the target's tags be those of the image, whose layers are there."""
        if target.has_image(image.root.digest) and not image.attachments:
            return
        try:
            self._put(target, image)
        except RegistryError as error:
            lost = self._lost(target, blobs) if is_blob_unknown(error) else []
            if not lost:
                raise
            log.warning(
                "%s has lost %d of the layers that it named or mounted; they are sent again",
                target.place,
                len(lost),
            )
            for i in lost:
                del self._outcomes[i][target.place]
            # What was seen there is no longer trusted, nor what it says of mounts.
            doubted = replace(target, seen=(), mounts=False)
            self._targets = tuple(doubted if each is target else each for each in self._targets)
            blobs |= self._send(lost, blobs)
            self._put(doubted, image)

    def _put(self, target: PushTarget, image: Image) -> None:
        self._sent += target.put_image(image, dry_run=self._pushing.dry_run)

    def _lost(self, target: PushTarget, blobs: Mapping[int, LayerBlob]) -> list[int]:
        """Return the layers that were taken to be there, and are not."""
        outcomes = {i: self._outcomes[i].get(target.place) for i in blobs}
        trusted = [i for i, each in outcomes.items() if each in {Outcome.KNOWN, Outcome.MOUNTED}]
        present = map_in_threads(lambda i: target.has(blobs[i].digest), trusted, _LOOKUPS)
        return [i for i, there in zip(trusted, present, strict=True) if not there]


def _described(blob: LayerBlob) -> tuple[object, ...]:
    return blob.digest, blob.diff_id, blob.size, blob.annotations


def _other_annotations(blob: LayerBlob, wrong: LayerBlob) -> str:
    return "" if blob.annotations == wrong.annotations else ", and its annotations are others"
