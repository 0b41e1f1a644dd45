"""Adding referrers to an OCI layout in a directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.documents import IndexDocument
from nixdock.oci.layout import BLOBS, INDEX, MARKER
from nixdock.oci.referrers import referrer_entry
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.system.atomic import whole_file

__all__ = ["add_to_layout", "layout_lock"]


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
