"""Reading what is attached to an image, to copy it along."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.documents import DescriptorDocument
from nixdock.oci.referrers import referrer_of
from nixdock.transfer.source import Source
from nixdock.transfer.tree import parse_index, parse_manifest, read_document

__all__ = ["MOST_CONTENT", "ListReferrers", "attachments_below", "read_attachment"]

log = logging.getLogger(__name__)

MOST_CONTENT: Final = 256 << 20
"""The largest size of a blob of an attachment that is read, in bytes."""

_MOST_ATTACHMENTS: Final = 1000

ListReferrers = Callable[[str], list[DescriptorDocument]]
"""Returns what a place lists as the referrers of the manifest with a digest."""


def read_attachment(source: Source, entry: DescriptorDocument, subject: str) -> Attachment:
    """Return an attachment that is listed as one to the manifest with the digest `subject`.

    All of it is verified. Raise ImageError if it is damaged, belongs to another manifest, is an
    index, or has a blob of more than 256 MiB.
    """
    manifest = source.manifest(entry)
    owner = referrer_of(manifest).subject
    if owner is None or owner.digest != subject:
        raise ImageError(
            f"{source.place}: {entry.digest} is listed as a referrer of {subject}, but does not"
            " refer to it",
            place=source.place,
            digest=entry.digest,
        )
    if parse_index(manifest) is not None:
        raise ImageError(
            f"{source.place}: {entry.digest} is an index, and has no content of its own",
            place=source.place,
            digest=entry.digest,
        )
    document = parse_manifest(manifest)
    blobs = (
        Blob(each.media_type, read_document(source, each, MOST_CONTENT))
        for each in (document.config, *document.layers)
    )
    return Attachment(manifest, tuple(blobs))


def attachments_below(
    source: Source, listed: ListReferrers, digests: Iterable[str]
) -> list[Attachment]:
    """Return what is attached to manifests, and to that, such as signatures; each once.

    Indexes are left out with a warning. Raise ImageError if something is damaged, or if there are
    too many.
    """
    found: dict[str, Attachment] = {}
    subjects = [*dict.fromkeys(digests)]
    for subject in subjects:
        for entry in listed(subject):
            if entry.digest in found or entry.digest in subjects:
                continue
            if len(found) >= _MOST_ATTACHMENTS:
                raise ImageError(
                    f"{source.place}: more than {_MOST_ATTACHMENTS} attachments are not read",
                    place=source.place,
                )
            if parse_index(source.manifest(entry)) is not None:
                log.warning("%s: %s is an index, and is left out", source.place, entry.digest)
                continue
            found[entry.digest] = read_attachment(source, entry, subject)
            subjects.append(entry.digest)
    return [*found.values()]
