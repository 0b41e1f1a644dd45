"""Images as subjects: what refers to them, and attaching more, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from nixdock.attach.layout import add_to_layout
from nixdock.errors import InputError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, Platform
from nixdock.oci.documents import DescriptorDocument
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location, location_text
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.manifests import existing_manifest
from nixdock.registry.opening import open_location
from nixdock.registry.pull_places import access_to
from nixdock.registry.referrers import list_referrers, put_referrers
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport
from nixdock.system.directory_lock import directory_lock
from nixdock.system.text import shown
from nixdock.transfer.attachments import MOST_CONTENT, read_only_content
from nixdock.transfer.layout_referrers import referrers_in_layout
from nixdock.transfer.opening import Selection, opened_layout
from nixdock.transfer.platforms import choose
from nixdock.transfer.source import LayoutSource, RegistrySource, Source

if TYPE_CHECKING:
    from nixdock.read.opening import ImageFile
    from nixdock.registry.access import Access

__all__ = [
    "Attached",
    "Referrer",
    "Subject",
    "attached_to",
    "only_referrer",
    "open_subject",
    "read_content",
]

_MOST_NAMED: Final = 5


class Referrer(Struct, frozen=True):
    """A manifest or an index that refers to an image, as it is listed."""

    digest: str
    size: int
    media_type: str
    artifact_type: str
    annotations: dict[str, str]

    @classmethod
    def of(cls, entry: DescriptorDocument) -> Referrer:
        """Return the referrer with that descriptor."""
        return cls(
            entry.digest,
            entry.size,
            entry.media_type,
            entry.artifact_type or "",
            entry.annotations or {},
        )

    @property
    def descriptor(self) -> DescriptorDocument:
        """The descriptor of the manifest."""
        return DescriptorDocument(self.media_type, self.digest, self.size)

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest,
            "size": self.size,
            "media_type": self.media_type,
            "artifact_type": self.artifact_type,
            "annotations": self.annotations,
        }


class Attached(Struct, frozen=True):
    """What was attached: the digests of its manifest and of the one to which that refers.

    `reference` is the reference to it in a registry, by its digest; else it is the digest.
    """

    digest: str
    subject: str
    artifact_type: str
    size: int
    reference: str

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest,
            "subject": self.subject,
            "artifact_type": self.artifact_type,
            "size": self.size,
            "reference": self.reference,
        }


class Subject(Protocol):
    """A manifest or an index to which others refer."""

    @property
    def manifest(self) -> Blob:
        """The manifest or index."""

    @property
    def source(self) -> Source:
        """Where its referrers are, too."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    @property
    def repository(self) -> Repository | None:
        """The repository that has it, or None if it is in a layout."""

    def exact(self, location: Location) -> Location:
        """Return the location at which it was found, in a registry by its digest."""

    def reference(self, digest: str) -> str:
        """Return the reference to another manifest, or the digest if there are no references."""

    def referrers(self, artifact_type: str | None = None) -> list[Referrer]:
        """Return what refers to it; with `artifact_type`, only what is of that type."""

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """Add attachments, unless they are there."""


@contextmanager
def open_subject(
    location: Location,
    platform: Platform | None = None,
    access: Access | None = None,
    *,
    attaching: bool = False,
) -> Iterator[Subject]:
    """Open what is at a location, or the image for `platform` if that is an index.

    With `attaching`, something may be attached to it, and others wait if they want that, too.

    Raise InputError if there is no such image, or in a form that can't have referrers; ImageError
    if it is damaged; and RegistryError if a registry does not answer as it should.
    """
    match location:
        case RegistryReference():
            # Mirrors need not have what refers to an image.
            transport = Transport(location.host, access_to(location, access))
            repository = Repository(transport, location.repository, is_target=attaching)
            source = RegistrySource(repository)
            found = existing_manifest(repository, location)
            manifest = Blob(found.media_type, found.data)
            if platform is not None:
                manifest = choose(source, manifest, platform)
            yield _InRegistry(repository, source, manifest)
        case FileLocation():
            with (
                directory_lock(location.path, writing=attaching),
                open_location(location) as file,
            ):
                yield _in_file(file, location, platform)


class _InRegistry(Struct, frozen=True):
    repository: Repository
    source: Source
    manifest: Blob

    @property
    def place(self) -> str:
        return self.reference(self.manifest.digest)

    def exact(self, location: Location) -> Location:
        tag = location.tag if isinstance(location, RegistryReference) else None
        return replace(self.repository.reference(self.manifest.digest), tag=tag)

    def reference(self, digest: str) -> str:
        return f"{self.repository.place}@{digest}"

    def referrers(self, artifact_type: str | None = None) -> list[Referrer]:
        found = list_referrers(self.repository, self.manifest.digest, artifact_type)
        return [Referrer.of(each) for each in found]

    def attach(self, attachments: Sequence[Attachment]) -> None:
        put_referrers(self.repository, attachments)


class _InLayout(Struct, frozen=True):
    """An image in a layout; `directory` is None if the layout is in an archive."""

    file: ImageFile
    source: LayoutSource
    manifest: Blob
    place: str
    directory: Path | None

    @property
    def repository(self) -> None:
        return None

    def exact(self, location: Location) -> Location:
        return location

    def reference(self, digest: str) -> str:
        return digest

    def referrers(self, artifact_type: str | None = None) -> list[Referrer]:
        found = referrers_in_layout(self.file.members, self.source, self.manifest.digest)
        entries = (Referrer.of(each) for each in found)
        return [each for each in entries if artifact_type in {None, each.artifact_type}]

    def attach(self, attachments: Sequence[Attachment]) -> None:
        if self.directory is None:
            raise InputError(
                f"{self.file.path} is an archive, to which nothing can be added; copy the image to"
                f" an OCI layout first: nixdock copy {self.file.path} oci:DIRECTORY",
                path=self.file.path,
            )
        add_to_layout(self.directory, attachments)


def _in_file(file: ImageFile, location: FileLocation, platform: Platform | None) -> Subject:
    if file.layout is None:
        raise InputError(
            f"{file.path} is a docker-archive, whose images have no manifests to which anything"
            f" could refer; copy the image first: nixdock copy {file.path} oci:DIRECTORY",
            path=file.path,
        )
    opened = opened_layout(file, Selection(platform, every=platform is None))
    source, manifest = LayoutSource(file.members, file.path), opened.tree.manifest
    if not source.has(manifest.digest):
        raise InputError(
            f"{file.path} has images for several platforms, but no index of them; choose a"
            " platform",
            path=file.path,
        )
    directory = location.path if file.format == Format.OCI_LAYOUT else None
    return _InLayout(file, source, manifest, location_text(location), directory)


def attached_to(subject: Subject, attachment: Attachment) -> Attached:
    """Attach something to a subject, and return what was attached."""
    subject.attach([attachment])
    digest = attachment.manifest.digest
    return Attached(
        digest=digest,
        subject=subject.manifest.digest,
        artifact_type=attachment.artifact_type,
        size=len(attachment.content.data),
        reference=subject.reference(digest),
    )


def only_referrer(subject: Subject, artifact_type: str | None, digest: str | None) -> Referrer:
    """Return the only referrer with that type and digest; raise InputError if it is not one."""
    found = [each for each in subject.referrers(artifact_type) if digest in {None, each.digest}]
    if not found:
        wanted = [
            "nothing",
            *([] if artifact_type is None else ["of the type", artifact_type]),
            *([] if digest is None else ["with the digest", digest]),
        ]
        raise InputError(f"{' '.join(wanted)} is attached to {subject.place}")
    if len(found) > 1:
        several = ", ".join(
            f"{each.digest} ({shown(each.artifact_type)})" for each in found[:_MOST_NAMED]
        )
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise InputError(
            f"{len(found)} things are attached to {subject.place}: {several}{more}; choose"
            " one by its type or digest"
        )
    return found[0]


def read_content(subject: Subject, referrer: Referrer, most: int = MOST_CONTENT) -> bytes:
    """Return the only content of an attachment; raise what `read_only_content` raises."""
    return read_only_content(subject.source, referrer.descriptor, subject.manifest.digest, most)
