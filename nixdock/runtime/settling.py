"""Settling the digests of images while they are served: another process packs their layers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from nixdock.errors import OutputError, PackError
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.runtime.catalogue import Catalogue, UnsettledOffer, settle
from nixdock.runtime.offers import ServedBuild
from nixdock.system.forked import Forked, Send, forked

if TYPE_CHECKING:
    from nixdock.oci.layer_blob import LayerBlob

__all__ = ["Settling", "settling"]

_PATIENCE: Final = 2.0
"""How long to wait for the thread in the end, in seconds."""


class Settling:
    """Images whose layers another process packs; `offers` are what they are until then.

    `done` ends when all of them are settled, with an error if one can't be.
    """

    def __init__(self, images: Sequence[ServedBuild], packing: Forked, progress: Progress) -> None:
        self.offers = [UnsettledOffer(image.names) for image in images]
        self.done: Future[None] = Future()
        self._images = images
        self._packing = packing
        self._progress = progress

    @contextmanager
    def into(self, repositories: Catalogue) -> Iterator[None]:
        """Put each image into the repositories when it is settled, until the block ends."""
        thread = threading.Thread(
            target=self._run, args=(repositories,), name="settling", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._packing.end()
            thread.join(_PATIENCE)

    def _run(self, repositories: Catalogue) -> None:
        waiting = iter(zip(self.offers, self._images, strict=True))
        try:
            for message in self._packing.received():
                if isinstance(message, _Report):
                    getattr(self._progress, message.method)(*message.arguments)
                    continue
                unsettled, image = next(waiting)
                image.keep(message.files)
                settle(repositories, unsettled, image.offer(message.blobs))
        except EOFError:
            self._fail(
                PackError(
                    "the process that packs layers was killed; the machine may be out of memory"
                )
            )
        except BaseException as error:
            self._fail(error)
        else:
            self.done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        # Before requests learn of it: who asks for the reason then gets it.
        self.done.set_exception(error)
        for offer in self.offers:
            if not offer.settled.done():
                offer.settled.set_exception(OutputError("the image can't be built"))


@contextmanager
def settling(images: Sequence[ServedBuild], progress: Progress = NO_PROGRESS) -> Iterator[Settling]:
    """Pack the layers of images in a process of its own, one image after another.

    This process must not have threads yet. The other one ends with the block.
    """

    def pack(send: Send) -> None:
        told = progress if progress is NO_PROGRESS else _SentProgress(send)
        for image in images:
            send(image.pack(told))

    with forked(pack) as packing:
        yield Settling(images, packing, progress)


class _Report(Struct, frozen=True):
    """A call of a method of Progress."""

    method: str
    arguments: tuple[Any, ...]


class _SentProgress(Progress):
    """Sends what is reported to the process that shows it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def start(self, weights: Sequence[int]) -> None:
        self._report("start", [*weights])

    def advance(self, index: int, size: int) -> None:
        self._report("advance", index, size)

    def known(self, index: int, blob: LayerBlob) -> None:
        self._report("known", index, blob)

    def packed(self, index: int, blob: LayerBlob) -> None:
        self._report("packed", index, blob)

    def _report(self, method: str, *arguments: Any) -> None:
        self._send(_Report(method, arguments))
