"""Small blobs of a repository, which are read into memory."""

from __future__ import annotations

from nixdock.errors import ImageError
from nixdock.layers.hashed import VerifiedReader, buffered
from nixdock.network.body import Body
from nixdock.oci.descriptor import Blob
from nixdock.oci.untrusted_json import MOST_JSON
from nixdock.registry.blobs import BlobReader, has_blob, upload_blob
from nixdock.registry.repository import Repository

__all__ = ["put_small_blob", "read_small_blob"]


def read_small_blob(repository: Repository, digest: str, size: int) -> bytes:
    """Return a blob of at most 4 MiB, verified.

    Raise ImageError if it is larger or is not the one with that digest and size, and RegistryError
    if the registry does not send it.
    """
    place = f"{repository.place}: the blob {digest}"
    if not 0 <= size <= MOST_JSON:
        raise ImageError(
            f"{place} has {size} bytes, but may have at most {MOST_JSON}", digest=digest
        )
    reader = VerifiedReader(BlobReader(repository, digest), place, digest, size)
    with buffered(reader) as stream:
        return stream.read()


def put_small_blob(repository: Repository, blob: Blob) -> None:
    """Store a blob, unless it is there; raise RegistryError if the registry refuses it."""
    if not has_blob(repository, blob.digest):
        upload_blob(repository, blob.digest, Body.of(blob.data))
