"""Adding referrers to an OCI layout in a directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nixdock.errors import ImageError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.documents import IndexDocument
from nixdock.oci.layout import BLOBS, INDEX
from nixdock.oci.referrers import referrer_entry
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.system.atomic import putting
from nixdock.system.presence import exists
from nixdock.system.renaming import put_files, sync_tree
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter

__all__ = ["add_to_layout"]


def add_to_layout(directory: Path, attachments: Sequence[Attachment]) -> None:
    """Add attachments to the layout in a directory, unless they are there.

    Their blobs come first, and `index.json` is replaced last. Hold the lock of the directory.
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
    with temporary_directory(directory / INDEX) as fresh, putting(directory):
        _write_new_blobs(directory, new, fresh)
        _write(fresh / INDEX, canonical_json(document))
        sync_tree(fresh)
        put_files(fresh, directory, INDEX)


def _write_new_blobs(directory: Path, attachments: Iterable[Attachment], fresh: Path) -> None:
    """Write the blobs that a layout lacks below `fresh`."""
    (fresh / BLOBS).mkdir(parents=True)
    for blob in (blob for each in attachments for blob in (*each.blobs, each.manifest)):
        name = f"{BLOBS}/{hex_of(blob.digest)}"
        if not exists(directory / name):
            _write(fresh / name, blob.data)


def _write(file: Path, data: bytes) -> None:
    with FileWriter(file) as writer:
        writer.write(data)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read {file}: {error.strerror}", path=file) from None
