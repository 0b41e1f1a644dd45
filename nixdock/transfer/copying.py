"""Copy a manifest or an index with all that it refers to, from any source to any destination."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from nixdock.errors import NixdockError
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.network.body import Body
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import DescriptorDocument
from nixdock.system.parallel import run_in_threads
from nixdock.system.readers import ForwardReader
from nixdock.transfer.destination import Destination, Outcome
from nixdock.transfer.source import Source
from nixdock.transfer.tree import Tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CopiedBlob", "CopiedManifest", "transfer"]

_THREADS: Final = 4


class CopiedBlob(Struct, frozen=True):
    """A blob at the destination: how it got there, and how many bytes were read for that."""

    digest: str
    size: int
    media_type: str
    outcome: Outcome
    read: int

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "media_type": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "outcome": self.outcome.value,
            "bytes_read": self.read,
        }


class CopiedManifest(Struct, frozen=True):
    """A manifest or an index at the destination; `outcome` says how it got there."""

    digest: str
    size: int
    media_type: str
    outcome: Outcome

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "media_type": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "outcome": self.outcome.value,
        }


def transfer(
    source: Source,
    tree: Tree,
    destination: Destination,
    names: Sequence[str] = (),
    progress: Progress = NO_PROGRESS,
    attachments: Sequence[Attachment] = (),
) -> tuple[tuple[CopiedBlob, ...], tuple[CopiedManifest, ...]]:
    """Copy `tree` and `attachments`, and give the root the `names`; what is there is not sent.

    Layers go first, in parallel, then configs, manifests, indexes, attachments and names: at no
    moment does the destination have a document without what it refers to. `progress` is told of
    each blob. Raise ImageError if a blob is damaged, RegistryError if a registry fails, and
    OutputError if a file can't be written.
    """
    blobs = tree.all_blobs()
    configs = {each.blobs[-1].digest for each in tree.walk() if each.blobs}
    progress.start([blob.size for blob in blobs])
    stop = threading.Event()
    copied: dict[str, CopiedBlob] = {}
    for is_config in (False, True):
        numbers = [i for i, blob in enumerate(blobs) if (blob.digest in configs) is is_config]
        # The largest first: at the end, all threads should have something to do.
        numbers.sort(key=lambda i: -blobs[i].size)
        jobs = [
            partial(_copy_blob, source, blobs[i], destination, partial(progress.advance, i), stop)
            for i in numbers
        ]
        copied |= {blob.digest: blob for blob in run_in_threads(jobs, _THREADS, stop)}
    manifests = [_copied(each, destination.put_manifest(each)) for each in tree.all_manifests()]
    if attachments:
        destination.attach(attachments)
    for name in names:
        destination.tag(name, tree.manifest)
    return tuple(copied[blob.digest] for blob in blobs), tuple(manifests)


def _copied(manifest: Blob, outcome: Outcome) -> CopiedManifest:
    return CopiedManifest(manifest.digest, len(manifest.data), manifest.media_type, outcome)


def _copy_blob(
    source: Source,
    blob: DescriptorDocument,
    destination: Destination,
    advance: Callable[[int], object],
    stop: threading.Event,
) -> CopiedBlob:
    read = 0

    def count(size: int) -> None:
        nonlocal read
        read += size
        advance(read)

    digest = check_digest(blob.digest)
    body = Body(blob.size, lambda: _CountedReader(source.open(digest), count, stop))
    mount_from = None if destination.host is None else source.mount_from(digest, destination.host)
    outcome = source.delivered(digest, partial(destination.put, digest, body, mount_from))
    advance(blob.size)
    return CopiedBlob(digest, blob.size, blob.media_type, outcome, read)


class _CountedReader(ForwardReader):
    """Pass on the bytes of a stream and count them, until all transfers stop."""

    def __init__(
        self, stream: io.RawIOBase, count: Callable[[int], None], stop: threading.Event
    ) -> None:
        super().__init__(stream)
        self._count = count
        self._stop = stop

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._stop.is_set():
            raise NixdockError("the transfer was stopped because another one failed")
        count = self._stream.readinto(buffer) or 0
        self._count(count)
        return count
