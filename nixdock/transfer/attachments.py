"""Reading what is attached to an image, to copy it along."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.documents import DescriptorDocument, ManifestDocument
from nixdock.oci.referrers import referrer_of
from nixdock.transfer.source import Source
from nixdock.transfer.tree import parse_index, parse_manifest, read_document

__all__ = [
    "MOST_CONTENT",
    "ListReferrers",
    "attachments_below",
    "read_attachment",
    "read_only_content",
]

log = logging.getLogger(__name__)

MOST_CONTENT: Final = 256 << 20
"""The largest size of an attachment that is read, in bytes."""

_MOST_ATTACHMENTS: Final = 1000
# They are in memory until all of them are written.
_MOST_CONTENT_IN_ALL: Final = 1 << 30

ListReferrers = Callable[[str], list[DescriptorDocument]]
"""Returns what a place lists as the referrers of the manifest with a digest."""


def read_attachment(source: Source, entry: DescriptorDocument, subject: str) -> Attachment:
    """Return an attachment that is listed as one to the manifest with the digest `subject`.

    All of it is verified. Raise ImageError if it is damaged, belongs to another manifest, is an
    index, or has blobs of more than 256 MiB in total.
    """
    manifest, document = _read_manifest(source, entry, subject)
    blobs = (document.config, *document.layers)
    sizes = {(each.digest, each.size) for each in blobs}
    if (size := sum(size for _, size in sizes)) > MOST_CONTENT:
        raise ImageError(
            f"{source.place}: the blobs of {entry.digest} have {size} bytes in total, but those of"
            f" an attachment may have at most {MOST_CONTENT}",
            place=source.place,
            digest=entry.digest,
        )
    contents: dict[tuple[str, int], bytes] = {}
    for each in blobs:
        if (each.digest, each.size) not in contents:
            contents[each.digest, each.size] = read_document(source, each, MOST_CONTENT)
    read = (Blob(each.media_type, contents[each.digest, each.size]) for each in blobs)
    return Attachment(manifest, tuple(read))


def read_only_content(
    source: Source, entry: DescriptorDocument, subject: str, most: int = MOST_CONTENT
) -> bytes:
    """Return the content of an attachment, verified; nothing else of it is read.

    Raise what `read_attachment` raises, but with `most` as the limit in bytes, and ImageError if
    the attachment has not exactly one content.
    """
    _, document = _read_manifest(source, entry, subject)
    if len(document.layers) != 1:
        raise ImageError(
            f"{entry.digest} has {len(document.layers)} contents, and not one", digest=entry.digest
        )
    return read_document(source, document.layers[0], most)


def _read_manifest(
    source: Source, entry: DescriptorDocument, subject: str
) -> tuple[Blob, ManifestDocument]:
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
    return manifest, parse_manifest(manifest)


def attachments_below(
    source: Source, listed: ListReferrers, digests: Iterable[str]
) -> list[Attachment]:
    """Return what is attached to manifests, and to that, such as signatures; each once.

    Indexes are left out with a warning. Raise ImageError if something is damaged, or if there are
    more than 1,000, or than 1 GiB of them.
    """
    found: dict[str, Attachment] = {}
    size = 0
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
            found[entry.digest] = attachment = read_attachment(source, entry, subject)
            size += sum({each.digest: len(each.data) for each in attachment.blobs}.values())
            if size > _MOST_CONTENT_IN_ALL:
                raise ImageError(
                    f"{source.place}: more than {_MOST_CONTENT_IN_ALL} bytes of attachments are not"
                    " read",
                    place=source.place,
                )
            subjects.append(entry.digest)
    return [*found.values()]
