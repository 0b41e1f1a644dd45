"""Copy an image from one location to another."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.attachment import Attachment
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location, location_text
from nixdock.oci.media_types import LAYER_CODINGS
from nixdock.registry.access import Access
from nixdock.transfer.artifacts import has_image
from nixdock.transfer.copying import CopiedBlob, CopiedManifest, transfer
from nixdock.transfer.destination import Destination, Outcome, RegistryDestination
from nixdock.transfer.file_destination import FileForm
from nixdock.transfer.names import agreed_names
from nixdock.transfer.opening import (
    Opened,
    Selection,
    destination_names,
    full_names,
    open_destination,
    open_source,
    repository_name,
)
from nixdock.transfer.source import RegistrySource, Source

__all__ = ["Copied", "copy_image"]

_FOR_DOCKER: Final = frozenset({Format.ARCHIVE, Format.DOCKER_ARCHIVE})


class Copied(Struct, frozen=True):
    """An image or an index of images that is now at a location, byte for byte.

    `manifests` are all of its manifests and indexes; the last one is that with `digest`.
    `attachments` are what was copied along, or was there already.
    `repository` is the one in a registry that has it, preferably at the destination, or empty.
    `requests` is the number of requests to registries.
    """

    source: str
    destination: str
    repository: str
    names: tuple[str, ...]
    blobs: tuple[CopiedBlob, ...]
    manifests: tuple[CopiedManifest, ...]
    attachments: tuple[Attachment, ...] = ()
    requests: int = 0

    @property
    def digest(self) -> str:
        """The digest of the manifest or index."""
        return self.manifests[-1].digest

    @property
    def digest_reference(self) -> str:
        """The reference by digest, where either location is a registry; else the digest."""
        return f"{self.repository}@{self.digest}" if self.repository else self.digest

    @property
    def layers(self) -> int:
        """The number of blobs that are layers, each counted once."""
        return sum(blob.media_type in LAYER_CODINGS for blob in self.blobs)

    @property
    def media_type(self) -> str:
        """The media type of the manifest or index."""
        return self.manifests[-1].media_type

    @property
    def size(self) -> int:
        """The bytes of all blobs, manifests and indexes, each counted once."""
        blobs = sum(blob.size for blob in self.blobs)
        return blobs + sum(manifest.size for manifest in self.manifests)

    @property
    def read(self) -> int:
        """How many bytes of blobs were read at the source."""
        return sum(blob.read for blob in self.blobs)

    def count(self, outcome: Outcome | str) -> int:
        """Return the number of blobs that got to the destination in that way."""
        return sum(blob.outcome == outcome for blob in self.blobs)

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "source": self.source,
            "destination": self.destination,
            "names": list(self.names),
            "media_type": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "bytes_read": self.read,
            "blobs": [blob.document() for blob in self.blobs],
            "manifests": [manifest.document() for manifest in self.manifests],
            "attachments": [each.document() for each in self.attachments],
        }


def copy_image(
    source: Location,
    destination: Location,
    how: FileForm,
    selection: Selection | None = None,
    access: Access | None = None,
    progress: Progress = NO_PROGRESS,
    *,
    referrers: bool = False,
) -> Copied:
    """Copy what `selection` means of `source`; `how` says how a file is written.

    With `referrers`, what is attached to it goes along, and what is attached to that.
    Raise what `open_source`, `open_destination` and `transfer` raise, and InputError if the format
    can't hold an index.
    """
    selection = selection or Selection()
    to_docker = how.form is Format.DOCKER_ARCHIVE and isinstance(destination, FileLocation)
    if to_docker and referrers:
        raise InputError(
            "a docker-archive has no manifest to which anything could refer; write an OCI layout"
        )
    if to_docker and selection.every:
        raise InputError(
            "a docker-archive holds the image for one platform; choose it, or write an OCI layout"
        )
    with open_source(source, selection, access, compress=not to_docker) as opened:
        names = destination_names(destination, opened)
        if isinstance(destination, FileLocation) and how.form in _FOR_DOCKER:
            _check_is_image(opened)
            if how.form is Format.ARCHIVE:
                names = agreed_names(names)
        attached = _attached(opened) if referrers else []
        with open_destination(destination, access, how=how) as place:
            blobs, manifests = transfer(
                opened.source, opened.tree, place, names, progress, attached
            )
            requests = _requests(opened.source) + _requests(place)
    return Copied(
        source=location_text(source),
        destination=location_text(destination),
        repository=repository_name(destination) or repository_name(source),
        names=full_names(destination, names),
        blobs=blobs,
        manifests=manifests,
        attachments=tuple(attached),
        requests=requests,
    )


def _check_is_image(opened: Opened) -> None:
    """Raise ImageError, before anything is fetched, for an artifact, which Docker can't load."""
    if not has_image(opened.tree):
        place, digest = opened.source.place, opened.tree.manifest.digest
        raise ImageError(
            f"{place} has no image, but {digest}, an artifact, which is in no file for Docker;"
            " write an OCI layout or an OCI archive",
            place=place,
            digest=digest,
        )


def _requests(place: Source | Destination) -> int:
    """Return how many requests a registry has answered; of files, there are none."""
    return place.requests if isinstance(place, RegistrySource | RegistryDestination) else 0


def _attached(opened: Opened) -> list[Attachment]:
    digests = [each.digest for each in opened.tree.all_manifests()]
    return opened.attachments(digests)
