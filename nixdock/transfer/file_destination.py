"""Image files as destinations: written whole or not at all, in every format."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import OutputError
from nixdock.network.body import Body
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import hex_of
from nixdock.oci.layout import BLOBS, LAYOUT, LAYOUT_DIRECTORIES, MARKER, Format
from nixdock.system.atomic import whole_directory, whole_file
from nixdock.system.directory_form import real_directory
from nixdock.system.writers import FileWriter
from nixdock.transfer.archives import write_docker_archive, write_oci_archive
from nixdock.transfer.destination import Destination, Outcome
from nixdock.transfer.file_content import FileContent, blob_name
from nixdock.transfer.kept_images import kept_images
from nixdock.transfer.staging import Staging, kept_staging, partial_directory, temporary_staging

__all__ = ["FileDestination", "FileForm", "open_file_destination"]

_NO_FILE: Final = Path("/dev/null/none")


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is written: its format and the time of its members, in seconds since 1970.

    With `resumable`, parts of blobs are kept if the transfer breaks. With `adding`, a layout keeps
    the other images that it has.
    """

    form: Format
    mtime: int = 1
    resumable: bool = False
    adding: bool = False


class FileDestination:
    """An image file; `earlier` is the directory of the layout that it replaces, if there is one."""

    host: str | None = None

    def __init__(self, staging: Staging, earlier: Path | None = None) -> None:
        self.content = FileContent()
        self._staging = staging
        self._earlier = earlier

    def has(self, digest: str) -> bool:
        """Tell whether a blob was put here."""
        return digest in self.content.files

    def put(self, digest: str, body: Body, mount_from: str | None = None) -> Outcome:  # noqa: ARG002
        """Take a blob over from the earlier layout if it is correct there; else write it."""
        if self.has(digest):
            return Outcome.PRESENT
        earlier = self._earlier_file(digest)
        if _is_blob(earlier, digest, body.size):
            self.content.files[digest] = earlier
            return Outcome.PRESENT
        self.content.files[digest] = self._staging.put(digest, body)
        return Outcome.WRITTEN

    def adopt(self, digest: str, file: Path) -> None:
        """Take a file as it is for a blob with that digest; it has to stay until the end."""
        self.content.files.setdefault(digest, file)

    def put_manifest(self, manifest: Blob) -> Outcome:
        """Take a manifest; the last one is that of the image, or the index of all."""
        self.content.manifests.pop(manifest.digest, None)
        self.content.manifests[manifest.digest] = manifest
        present = _is_blob(self._earlier_file(manifest.digest), manifest.digest, len(manifest.data))
        return Outcome.PRESENT if present else Outcome.WRITTEN

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """Keep attachments for the file."""
        self.content.attachments += attachments

    def tag(self, name: str, manifest: Blob) -> Outcome:  # noqa: ARG002 (it is the last one)
        """Name the image."""
        self.content.names.append(name)
        return Outcome.WRITTEN

    def _earlier_file(self, digest: str) -> Path:
        return _NO_FILE if self._earlier is None else self._earlier / BLOBS / hex_of(digest)


@contextmanager
def open_file_destination(target: Path, how: FileForm) -> Iterator[FileDestination]:
    """Yield a destination that becomes the file or directory `target` if the block succeeds.

    Raise OutputError if it can't be written, or ImageError if what was put there does not fit the
    format.
    """
    with ExitStack() as stack:
        kept = partial_directory() if how.resumable else None
        staging = stack.enter_context(
            temporary_staging(target) if kept is None else kept_staging(kept)
        )
        if how.form is Format.OCI_LAYOUT:
            earlier = target if (target / MARKER).is_file() else None
            fresh = stack.enter_context(whole_directory(real_directory(target), LAYOUT))
            destination = FileDestination(staging, earlier)
            yield destination
            _write_layout(fresh, destination.content, earlier if how.adding else None)
            return
        file = stack.enter_context(whole_file(target))
        destination = FileDestination(staging)
        yield destination
        if how.form is Format.DOCKER_ARCHIVE:
            write_docker_archive(file.write, destination.content, mtime=how.mtime)
        else:
            docker = how.form is Format.ARCHIVE
            write_oci_archive(file.write, destination.content, docker=docker, mtime=how.mtime)


def _write_layout(directory: Path, content: FileContent, kept: Path | None) -> None:
    for name in LAYOUT_DIRECTORIES:
        (directory / name).mkdir()
    for name, file in content.blobs().items():
        _place(file, directory / name)
    entries, digests = ([], set()) if kept is None else kept_images(kept, content)
    for name, data in content.documents(entries).items():
        with FileWriter(directory / name) as writer:
            writer.write(data)
    for digest in digests:
        name = blob_name(digest)
        if kept is not None and not (directory / name).exists():
            _place(kept / name, directory / name)


def _place(file: Path, fresh: Path) -> None:
    """Give a file another name, or copy it where that is impossible."""
    try:
        fresh.hardlink_to(file)
    except OSError:
        try:
            shutil.copyfile(file, fresh)
        except OSError as error:
            raise OutputError(f"can't write {fresh}: {error.strerror}", path=fresh) from None


def _is_blob(file: Path, digest: str, size: int) -> bool:
    """Tell whether a file is a blob, of which it reads all bytes if the size is right."""
    try:
        state = file.lstat()
        if not stat.S_ISREG(state.st_mode) or state.st_size != size:
            return False
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == hex_of(digest)
    except OSError:
        return False


if TYPE_CHECKING:
    # Let mypy check that FileDestination provides the interface.
    _DESTINATION: type[Destination] = FileDestination
