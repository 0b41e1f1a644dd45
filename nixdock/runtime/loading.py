"""Bring an image into a runtime: by its pull from a registry for a moment, or as a stream."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import NixdockError, PackError, ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.catalogue import Offer, catalogue
from nixdock.runtime.parts import ImageParts, parts_of
from nixdock.runtime.runtime import Puller, Receiver, Runtime
from nixdock.runtime.tally import Tally
from nixdock.runtime.turns import turn

__all__ = ["Loaded", "LoadedLayer", "load_offer"]

log = logging.getLogger(__name__)

# Runtimes take 255 characters, and the address of the registry comes before the repository.
_MOST_REPOSITORY: Final = 255 - len("127.0.0.1:65535/")


class LoadedLayer(Struct, frozen=True):
    """A layer, and how many bytes of its blob the runtime got: none if it had the layer."""

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


class Loaded(Struct, frozen=True):
    """An image that a runtime has now, under `names`, as its own program takes them.

    `image` is the digest of its config, by which Docker and Podman know it, and `digest` that of
    its manifest. `blobs` and `sent` are how many blobs the runtime got, and their bytes; with
    `is_streamed`, it did not ask for them, but was sent those that it seemed to lack.
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


def load_offer(offer: Offer, runtime: Runtime, names: Sequence[Reference]) -> Loaded:
    """Let `runtime` have the image, under all of `names`, of which there is at least one.

    It pulls the image from here, or it receives a stream without the layers that it has, whichever
    is possible, and faster. Raise ToolError if it refuses the image, or lacks something of it in
    the end.
    """
    image = offer.config or offer.manifest.digest
    with turn(image) if runtime.loses_names else nullcontext():
        return _brought(offer, runtime, names)


def _brought(offer: Offer, runtime: Runtime, names: Sequence[Reference]) -> Loaded:
    shortcut, puller = runtime.shortcut, runtime.puller
    if shortcut is not None:
        parts = parts_of(offer)
        if shortcut.name_again(parts, names):
            return _loaded(offer, runtime, names, {})
        if known := shortcut.known(parts, names):
            sent = _received(parts, shortcut, names, known)
            return _loaded(offer, runtime, names, sent, is_streamed=True)
    if puller is not None:
        fetched = _pulled(offer, puller, names, runtime.name)
        if fetched is not None:
            return _loaded(offer, runtime, names, fetched)
    parts = parts_of(offer)
    total: Counter[str] = Counter()
    for receiver in runtime.receivers():
        total.update(_received(parts, receiver, names, receiver.known(parts, names)))
    return _loaded(offer, runtime, names, total, is_streamed=True)


def _reason(failure: Exception) -> NixdockError:
    """Return why a part of the image could not be served."""
    if isinstance(failure, NixdockError):
        return failure
    return PackError(f"a part of the image can't be read: {failure}")


def _pulled(
    offer: Offer, puller: Puller, names: Sequence[Reference], runtime: str
) -> Mapping[str, int] | None:
    """Return the bytes of each blob that was asked for, or None if nothing was asked of us."""
    tally = Tally()
    failures: list[Exception] = []
    try:
        _pull(offer, puller, names, tally, failures)
    except ToolError as error:
        # The runtime only knows that something could not be had.
        if failures:
            raise _reason(failures[0]) from None
        if tally.answers:
            raise
        log.warning(
            "%s can't reach a server on this machine, so it is sent what it lacks (%s)",
            runtime,
            str(error).splitlines()[-1],
        )
        return None
    return tally.blobs


def _received(
    parts: ImageParts, receiver: Receiver, names: Sequence[Reference], known: Collection[str]
) -> Mapping[str, int]:
    """Send an image without what is `known`; return the bytes of each blob that was sent."""
    try:
        receiver.receive(parts, names, known)
        receiver.check(parts, names)
    except ToolError as error:
        if not known:
            raise
        log.warning("the whole image is sent, because a part was not enough (%s)", error)
        known = ()
        receiver.receive(parts, names, known)
        receiver.check(parts, names)
    sent = {each.digest: each.blob.size for each in parts.layers if each.digest not in known}
    return {**sent, parts.config.digest: len(parts.config.data)}


def _pull(
    offer: Offer,
    puller: Puller,
    names: Sequence[Reference],
    tally: Tally,
    failures: list[Exception],
) -> None:
    """Let the runtime pull the image, and leave only its own names there.

    It is pulled by digest: whoever else listens on the same port of another machine can't pass off
    another image.
    """
    # Not needed for streams.
    from nixdock.runtime.app import application  # noqa: PLC0415
    from nixdock.runtime.gate import Gate  # noqa: PLC0415
    from nixdock.runtime.server import listening  # noqa: PLC0415

    repository = offer.served_names()[0].repository
    if len(repository) > _MOST_REPOSITORY:
        offer = replace(offer, names=())
        repository = offer.served_names()[0].repository
    app = application(
        catalogue([offer]), tally, lambda _, error: failures.append(error), local_only=True
    )
    gate = Gate()
    with listening(app, gate=gate) as address:
        reference = f"{address}/{repository}@{offer.manifest.digest}"
        try:
            puller.pull(reference, gate.shut)
            for name in names:
                puller.tag(reference, name)
        except BaseException:
            with suppress(ToolError):
                puller.remove(reference)
            raise
        puller.remove(reference)


def _loaded(
    offer: Offer,
    runtime: Runtime,
    names: Sequence[Reference],
    sent: Mapping[str, int],
    *,
    is_streamed: bool = False,
) -> Loaded:
    comments = {layer.digest: layer.history.comment for layer in offer.layers}
    return Loaded(
        runtime=runtime.name,
        names=tuple(str(runtime.own_name(name)) for name in names),
        image=offer.config,
        digest=offer.manifest.digest,
        layers=tuple(
            LoadedLayer(digest, blob.size, comments.get(digest), sent.get(digest, 0))
            for digest, blob in offer.blobs.items()
            if digest != offer.config
        ),
        blobs=len(sent),
        sent=sum(sent.values()),
        is_streamed=is_streamed,
    )
