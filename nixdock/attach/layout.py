"""Referrers in OCI layouts: `index.json` lists their manifests, without names.

The image-spec leaves open how a layout lists them. ORAS and containerd list them in this way, and
read them so.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment, referrer_entry, referrer_of
from nixdock.oci.descriptor import Blob, canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.layout import BLOBS, INDEX, MARKER
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json
from nixdock.read.members import Members, read_whole
from nixdock.system.atomic import whole_file
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import MOST_DESCRIPTORS, MOST_NESTING, parse_index

__all__ = ["add_to_layout", "layout_lock", "referrers_in_layout"]


def referrers_in_layout(
    members: Members, source: LayoutSource, digest: str
) -> list[DescriptorDocument]:
    """Return the descriptors of the manifests in a layout that refer to the one with that digest.

    They may also be in indexes, such as those with which some tools keep the lists of registries.
    Raise ImageError if a document is malformed, or if there are too many.
    """
    index = converted(parse_json(read_whole(members, INDEX, MOST_JSON), INDEX), IndexDocument)
    found = {}
    for manifest in _Manifests(source).below(index.manifests, 0):
        subject = referrer_of(manifest).subject
        if subject is not None and subject.digest == digest:
            found[manifest.digest] = converted(referrer_entry(manifest), DescriptorDocument)
    return [*found.values()]


class _Manifests:
    """All manifests and indexes of a layout that are there, within limits."""

    def __init__(self, source: LayoutSource) -> None:
        self._source = source
        self._budget = JsonBudget()
        self._left = MOST_DESCRIPTORS

    def below(self, entries: Sequence[DescriptorDocument], depth: int) -> Iterator[Blob]:
        self._left -= len(entries)
        if self._left < 0 or depth > MOST_NESTING:
            raise ImageError(
                f"{self._source.place} has more than {MOST_DESCRIPTORS} descriptors, or more than"
                f" {MOST_NESTING} indexes within each other"
            )
        for entry in entries:
            is_manifest = entry.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES
            if not is_manifest or not self._source.has(entry.digest):
                continue
            manifest = self._source.manifest(entry)
            yield manifest
            index = parse_index(manifest, self._budget)
            if index is not None:
                yield from self.below(index.manifests, depth + 1)


def add_to_layout(directory: Path, attachments: Sequence[Attachment]) -> None:
    """Add attachments to the layout in a directory, unless they are there.

    Their blobs are written first, and `index.json` is replaced last. Hold the lock of the layout.
    Raise ImageError if `index.json` is malformed, and OutputError if something can't be written;
    nothing new is then left.
    """
    data = _read(directory / INDEX)
    listed = {each.digest for each in converted(parse_json(data), IndexDocument).manifests}
    new = [each for each in attachments if each.manifest.digest not in listed]
    if not new:
        return
    document = dict(parse_json(data))
    entries = [referrer_entry(each.manifest) for each in new]
    document["manifests"] = [*document["manifests"], *entries]
    with _new_blobs(directory, new):
        _replace(directory / INDEX, canonical_json(document))


@contextmanager
def _new_blobs(directory: Path, attachments: Iterable[Attachment]) -> Iterator[None]:
    """Write the blobs that a layout lacks; remove them if the block fails."""
    written: list[Path] = []
    try:
        for blob in (blob for each in attachments for blob in (*each.blobs, each.manifest)):
            file = directory / BLOBS / hex_of(blob.digest)
            if not file.exists():
                written.append(file)
                _replace(file, blob.data)
        yield
    except BaseException:
        for file in written:
            with suppress(OSError):
                file.unlink()
        raise


def _replace(file: Path, data: bytes) -> None:
    with whole_file(file) as writer:
        writer.write(data)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read {file}: {error.strerror}", path=file) from None


@contextmanager
def layout_lock(directory: Path, *, writing: bool) -> Iterator[None]:
    """Let no other process add something to a layout in the block; with `writing`, nor read it.

    Without a layout, or where the file system has no locks, there is none.
    """
    try:
        descriptor = os.open(directory / MARKER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
