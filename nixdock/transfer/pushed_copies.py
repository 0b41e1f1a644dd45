"""Images that were pushed by copying them, in the terms of a push."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nixdock.oci.media_types import LAYER_CODINGS
from nixdock.transfer.copy_image import Copied
from nixdock.transfer.copying import CopiedBlob, CopiedManifest
from nixdock.transfer.destination import Outcome
from nixdock.transfer.pushed import PushedImage, PushedLayer

__all__ = ["bytes_sent", "pushed_copies"]


def pushed_copies(copies: Sequence[Copied]) -> PushedImage:
    """Return what was done when one image was copied to several places, of which there is one."""
    first = copies[0]
    outcomes: dict[str, dict[str, Outcome]] = {}
    for copy in copies:
        for blob in copy.blobs:
            # Of two tags of a repository, the second one has nothing left to send.
            outcomes.setdefault(blob.digest, {}).setdefault(copy.repository, blob.outcome)
    references = dict.fromkeys(copy.digest_reference for copy in copies)
    return PushedImage(
        digest=first.digest,
        references=tuple(references),
        layers=tuple(
            PushedLayer(blob.digest, blob.size, blob.media_type, outcomes[blob.digest])
            for blob in first.blobs
            if blob.media_type in LAYER_CODINGS
        ),
        read=sum(copy.read for copy in copies),
        sent=sum(bytes_sent(copy.blobs, copy.manifests) for copy in copies),
        requests=sum(copy.requests for copy in copies),
    )


def bytes_sent(blobs: Iterable[CopiedBlob], manifests: Iterable[CopiedManifest]) -> int:
    """Return the size of those that were uploaded."""
    sizes = [
        *((blob.size, blob.outcome) for blob in blobs),
        *((manifest.size, manifest.outcome) for manifest in manifests),
    ]
    return sum(size for size, outcome in sizes if outcome is Outcome.UPLOADED)
