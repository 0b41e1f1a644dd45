"""Image files as destinations: written whole or not at all, in every format."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import OutputError
from nixdock.network.body import Body
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import hex_of
from nixdock.oci.layout import BLOBS, INDEX, MARKER, Format
from nixdock.system.atomic import whole_file
from nixdock.system.directory_form import real_directory
from nixdock.system.presence import is_directory, is_file
from nixdock.transfer.archives import write_docker_archive, write_oci_archive
from nixdock.transfer.destination import Destination, Outcome
from nixdock.transfer.file_content import FileContent, blob_name
from nixdock.transfer.layout_output import give_name, grown_layout, replaced_layout
from nixdock.transfer.staging import Staging, kept_staging, partial_directory, temporary_staging

__all__ = ["FileDestination", "FileForm", "open_file_destination"]

_NO_FILE: Final = Path("/dev/null/none")


class FileForm(Struct, frozen=True):
    """How a file is written: its format and the time of its members, in seconds since 1970.

    With `resumable`, parts of blobs are kept if the transfer breaks. With `adding`, a layout keeps
    what else it has.
    """

    form: Format
    mtime: int = 1
    resumable: bool = False
    adding: bool = False


class FileDestination:
    """An image file, or a layout that grows in the directory `fresh`.

    `earlier` is the directory of the layout that is there already, if there is one.
    """

    host: str | None = None

    def __init__(
        self, staging: Staging, fresh: Path = _NO_FILE, earlier: Path | None = None
    ) -> None:
        self.content = FileContent()
        self._staging = staging
        self._fresh = fresh
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
            # Whoever changes the layout meanwhile may remove the blob.
            with suppress(OutputError):
                file = self._fresh / blob_name(digest)
                give_name(earlier, file)
                self.content.files[digest] = file
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
        if how.form is Format.OCI_LAYOUT:
            target = real_directory(target)
            # What is added to a directory is at first in it: it may be on another file system.
            beside = target / INDEX if how.adding and is_directory(target) else target
            staging = _staging(beside, how, stack)
            earlier = target if is_file(target / MARKER) else None
            opened = grown_layout(target) if how.adding else replaced_layout(target)
            layout = stack.enter_context(opened)
            destination = FileDestination(staging, layout.fresh, earlier)
            yield destination
            layout.put(destination.content)
            return
        staging = _staging(target, how, stack)
        file = stack.enter_context(whole_file(target))
        destination = FileDestination(staging)
        yield destination
        if how.form is Format.DOCKER_ARCHIVE:
            write_docker_archive(file.write, destination.content, mtime=how.mtime)
        else:
            docker = how.form is Format.ARCHIVE
            write_oci_archive(file.write, destination.content, docker=docker, mtime=how.mtime)


def _staging(target: Path, how: FileForm, stack: ExitStack) -> Staging:
    kept = partial_directory() if how.resumable else None
    return stack.enter_context(temporary_staging(target) if kept is None else kept_staging(kept))


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
