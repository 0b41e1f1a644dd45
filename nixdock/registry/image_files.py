"""An image in a registry as the files of an OCI layout, each fetched when it is read."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.coding.codings import MAGIC_SIZE
from nixdock.errors import ImageError, RegistryError
from nixdock.layers.hashed import CHUNK
from nixdock.oci.descriptor import Descriptor, Platform, canonical_json
from nixdock.oci.digests import hex_of
from nixdock.oci.documents import DescriptorDocument, IndexDocument, ManifestDocument
from nixdock.oci.layout import BLOBS, CONTAINERD_NAME, INDEX, MARKER, MARKER_DATA
from nixdock.oci.media_types import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.platforms import best_fitting
from nixdock.oci.registry_reference import RegistryReference
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.read.members import missing_error
from nixdock.read.stored import StoredIndex
from nixdock.registry.blobs import BlobReader, start_of_blob
from nixdock.registry.manifests import RemoteManifest, get_manifest
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport
from nixdock.system.file_range import Range
from nixdock.system.readers import BytesReader
from nixdock.system.scratch import temporary_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RegistryFiles", "fitting_manifest", "stored_index"]

_MOST_NESTING: Final = 4
_DOCUMENTS: Final = MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES


class _Blob(Struct, frozen=True):
    digest: str
    size: int


class RegistryFiles:
    """The `Members` of an image or index in a registry.

    Manifests are fetched once. A blob is passed on as it comes; from the second time on that it is
    opened, or from the first time on with `keep`, it is read from an unnamed temporary file. A blob
    that the registry lacks is an ImageError, as any file that an image lacks.
    """

    def __init__(
        self,
        repository: Repository,
        manifest: RemoteManifest,
        reference: RegistryReference,
        *,
        keep: bool = False,
    ) -> None:
        self._own_repository = repository
        self._process = os.getpid()
        self._keep = keep
        self._documents: dict[str, bytes] = {MARKER: MARKER_DATA}
        self._unread: dict[str, DescriptorDocument] = {}
        self._blobs: dict[str, _Blob] = {}
        self._files: dict[str, io.FileIO] = {}
        self._opened: set[str] = set()
        self._lock = threading.RLock()
        self._fetching: dict[str, threading.Lock] = {}
        descriptor = Descriptor(
            manifest.media_type,
            manifest.digest,
            len(manifest.data),
            _annotations(reference),
        )
        index = {"schemaVersion": 2, "manifests": [descriptor.document()]}
        self._documents[INDEX] = canonical_json(index)
        self._add_document(manifest)

    def __contains__(self, name: str) -> bool:
        return name in self._documents or name in self._unread or name in self._blobs

    def __iter__(self) -> Iterator[str]:
        return iter([*self._documents, *self._unread, *self._blobs])

    def same(self, name: str) -> str:
        """Return the name itself: there are no links."""
        return name

    def size(self, name: str) -> int:
        """Return the size of a document, or the size that a manifest states for a blob."""
        data = self._document(name)
        return self._blob(name).size if data is None else len(data)

    def start(self, name: str) -> bytes:
        """Return the first bytes of a file, enough to recognise its compression."""
        data = self._document(name)
        if data is not None:
            return data[:MAGIC_SIZE]
        if (file := self._files.get(name)) is not None:
            return os.pread(file.fileno(), MAGIC_SIZE, 0)
        try:
            return start_of_blob(self._repository, self._blob(name).digest, MAGIC_SIZE)
        except RegistryError as error:
            raise _missing_or(error) from None

    def open(self, name: str) -> io.RawIOBase:
        """Open a file for reading; raise ImageError if there is none.

        The bytes are not verified; reading them raises RegistryError if they do not come.
        """
        data = self._document(name)
        if data is not None:
            return BytesReader(data)
        blob = self._blob(name)
        with self._lock:
            is_first = name not in self._opened
            self._opened.add(name)
        if self._keep or not is_first:
            return self.open_range(name)
        return _FileReader(self._repository, blob.digest)

    def open_range(self, name: str) -> Range:
        """Open a blob for reading at any position, after it was fetched as a whole."""
        blob = self._blob(name)
        with self._lock:
            fetching = self._fetching.setdefault(name, threading.Lock())
        # Each blob is fetched once, but several may be fetched at the same time.
        with fetching:
            file = self._files.get(name)
            if file is None:
                file = self._fetched(blob)
                self._files[name] = file
        return Range(file.fileno(), 0, blob.size)

    def close(self) -> None:
        """Remove the temporary files."""
        for file in self._files.values():
            file.close()

    @property
    def _repository(self) -> Repository:
        """The repository; a forked process needs connections of its own."""
        if self._process != os.getpid():
            forked = self._own_repository
            transport = Transport(forked.host, forked.transport.access)
            self._own_repository = Repository(transport, forked.name)
            self._process = os.getpid()
        return self._own_repository

    def _fetched(self, blob: _Blob) -> io.FileIO:
        file = temporary_file()
        left = blob.size
        try:
            with _FileReader(self._repository, blob.digest) as reader:
                while left and (chunk := reader.read(min(CHUNK, left))):
                    left -= len(chunk)
                    while chunk:
                        chunk = chunk[file.write(chunk) :]
        except BaseException:
            file.close()
            raise
        return file

    def _blob(self, name: str) -> _Blob:
        if name not in self._blobs:
            raise missing_error(name)
        return self._blobs[name]

    def _document(self, name: str) -> bytes | None:
        """Return the bytes of a document, which is fetched if need be; None for blobs."""
        with self._lock:
            descriptor = self._unread.pop(name, None)
            if descriptor is not None:
                manifest = get_manifest(self._repository, descriptor.digest)
                if manifest is None:
                    raise ImageError(
                        f"{self._repository.place} has no manifest {descriptor.digest}",
                        place=self._repository.place,
                        digest=descriptor.digest,
                    )
                self._add_document(manifest)
            return self._documents.get(name)

    def _add_document(self, manifest: RemoteManifest) -> None:
        """Keep a document whose digest is verified, and learn which files it refers to."""
        self._documents[_name(manifest.digest)] = manifest.data
        try:
            value = parse_json(manifest.data)
            if manifest.media_type in INDEX_MEDIA_TYPES:
                children = converted(value, IndexDocument).manifests
            else:
                document = converted(value, ManifestDocument)
                children = [document.config, *document.layers]
        except ImageError:
            # Whoever reads the document finds out what is wrong with it.
            return
        for child in children:
            name = _name(child.digest)
            if name in self:
                continue
            if child.media_type in _DOCUMENTS:
                self._unread[name] = child
            else:
                self._blobs[name] = _Blob(child.digest, child.size)


def _annotations(reference: RegistryReference) -> dict[str, str]:
    """Name the image by its tag, if there is one; the grammar of names knows no IPv6 addresses."""
    if reference.tag is None or reference.host.startswith("["):
        return {}
    return {CONTAINERD_NAME: f"{reference.name}:{reference.tag}"}


def _name(digest: str) -> str:
    return f"{BLOBS}/{hex_of(digest)}"


class _FileReader(BlobReader):
    """A blob as a file of an image: if there is none, the image lacks a file."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            return super().readinto(buffer)
        except RegistryError as error:
            raise _missing_or(error) from None

    def read(self, size: int = -1, /) -> bytes:
        try:
            return super().read(size)
        except RegistryError as error:
            raise _missing_or(error) from None


def _missing_or(error: RegistryError) -> ImageError | RegistryError:
    """Return the error that a file is missing, if that is what the registry says."""
    return ImageError(str(error), place=error.place) if error.status == 404 else error


def fitting_manifest(
    repository: Repository, manifest: RemoteManifest, platform: Platform, depth: int = 0
) -> RemoteManifest:
    """Return the manifest for `platform` if `manifest` is an index, else `manifest` itself.

    An index that does not state the platforms of its images is returned as it is, and one whose
    images are all for other platforms, too: reading them tells what there is.
    """
    if manifest.media_type not in INDEX_MEDIA_TYPES or depth > _MOST_NESTING:
        return manifest
    children = converted(parse_json(manifest.data), IndexDocument).manifests
    choices = [
        (
            Platform(p.architecture, p.os, p.variant, p.os_version),
            child,
        )
        for child in children
        if (p := child.platform) is not None
    ]
    fitting = best_fitting(choices, platform)
    if len(choices) < len(children) or not fitting:
        return manifest
    found = get_manifest(repository, fitting[0][1].digest)
    if found is None:
        raise ImageError(
            f"{repository.place} has no manifest {fitting[0][1].digest}, to which its index refers",
            place=repository.place,
            digest=fitting[0][1].digest,
        )
    return fitting_manifest(repository, found, platform, depth + 1)


def stored_index(manifest: RemoteManifest) -> StoredIndex:
    """Return what an index says of itself; raise ImageError if it is malformed."""
    index = converted(parse_json(manifest.data), IndexDocument)
    return StoredIndex.of(manifest.digest, index)
