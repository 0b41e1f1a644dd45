"""Bring an image into a runtime: by a registry that lives for a moment, and the runtime's pull."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Offer, catalogue
from nixdock.runtime.runtimes import Runtime
from nixdock.runtime.server import listening
from nixdock.runtime.tally import Tally
from nixdock.system.scratch import temporary_directory

__all__ = ["Loaded", "LoadedLayer", "load_offer"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedLayer:
    """A layer, and how many bytes of its blob the runtime asked for: none if it has the layer."""

    digest: str
    size: int
    comment: str | None
    sent: int

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest,
            "size": self.size,
            "comment": self.comment,
            "bytes_sent": self.sent,
        }


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that a runtime has now, under `names`.

    `image` is the digest of its config, by which Docker and Podman know it, and `digest` that of
    its manifest. `blobs` and `sent` are how many blobs the runtime asked for, and their bytes;
    with `is_streamed`, it could not ask, and the whole image was sent.
    """

    runtime: str
    names: tuple[str, ...]
    image: str | None
    digest: str
    layers: tuple[LoadedLayer, ...]
    blobs: int
    sent: int
    is_streamed: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `nixdock load --json` prints."""
        return {
            "runtime": self.runtime,
            "names": list(self.names),
            "image": self.image,
            "digest": self.digest,
            "streamed": self.is_streamed,
            "blobs": self.blobs,
            "bytes_sent": self.sent,
            "layers": [layer.document() for layer in self.layers],
        }


def load_offer(
    offer: Offer,
    runtime: Runtime,
    names: Sequence[Reference],
    write_archive: Callable[[Path], object],
) -> Loaded:
    """Let `runtime` have the image, under all of `names`, of which there is at least one.

    If the runtime is on another machine, so that nothing is asked of the registry, it gets what
    `write_archive` writes: the image as a docker-archive that has the first name. Raise ToolError
    if the runtime refuses the image.
    """
    tally = Tally()
    failures: list[Exception] = []
    try:
        _pull(offer, runtime, names, tally, failures)
    except ToolError as error:
        # The runtime only knows that something could not be had.
        if failures:
            raise failures[0] from None
        if tally.answers:
            raise
        log.warning(
            "%s can't reach a server on this machine, so the whole image is sent (%s)",
            runtime.name,
            str(error).splitlines()[-1],
        )
    else:
        fetched = tally.blobs
        return _loaded(offer, runtime, names, fetched, sum(fetched.values()))
    with temporary_directory() as directory:
        archive = directory / "image.tar"
        write_archive(archive)
        runtime.load(archive)
        size = archive.stat().st_size
    for name in names[1:]:
        runtime.tag(str(names[0]), name)
    sizes = {digest: blob.size for digest, blob in offer.blobs.items()}
    return _loaded(offer, runtime, names, sizes, size, is_streamed=True)


def _pull(
    offer: Offer,
    runtime: Runtime,
    names: Sequence[Reference],
    tally: Tally,
    failures: list[Exception],
) -> None:
    """Let the runtime pull the image, and leave only its own names there.

    It is pulled by digest: whoever else listens on the same port of another machine can't pass off
    another image.
    """
    repository = offer.served_names()[0].repository
    app = application(
        catalogue([offer]), tally, lambda _, error: failures.append(error), local_only=True
    )
    with listening(app) as address:
        reference = f"{address}/{repository}@{offer.manifest.digest}"
        try:
            runtime.pull(reference)
            for name in names:
                runtime.tag(reference, name)
        except BaseException:
            with suppress(ToolError):
                runtime.remove(reference)
            raise
        runtime.remove(reference)


def _loaded(
    offer: Offer,
    runtime: Runtime,
    names: Sequence[Reference],
    fetched: Mapping[str, int],
    sent: int,
    *,
    is_streamed: bool = False,
) -> Loaded:
    comments = {layer.digest: layer.history.comment for layer in offer.layers}
    return Loaded(
        runtime=runtime.name,
        names=tuple(map(str, names)),
        image=offer.config,
        digest=offer.manifest.digest,
        layers=tuple(
            LoadedLayer(digest, blob.size, comments.get(digest), fetched.get(digest, 0))
            for digest, blob in offer.blobs.items()
            if digest != offer.config
        ),
        blobs=len(fetched),
        sent=sent,
        is_streamed=is_streamed,
    )
