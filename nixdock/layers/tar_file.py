"""A layer whose uncompressed tar is in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nixdock.errors import PackError
from nixdock.layers.created import CreatedLayer, SizedTar
from nixdock.layers.hashed import CHUNK
from nixdock.layers.keys import tar_key
from nixdock.oci.digests import Hashing
from nixdock.oci.layer_blob import LayerHistory
from nixdock.system.buffers import Write
from nixdock.tar.header import Attributes, Entry
from nixdock.tar.reader import TarReader

__all__ = ["TarLayer"]


class TarLayer(CreatedLayer, frozen=True):
    """The uncompressed tar in `file`, whose digest must be `tar_digest`."""

    file: Path
    tar_digest: str
    history: LayerHistory

    @property
    def subject(self) -> str:
        """What error messages call the layer."""
        return str(self.file)

    @property
    def diff_id(self) -> str:
        """The digest that the tar must have."""
        return self.tar_digest

    @property
    def key(self) -> str:
        """The key of a layer with that tar."""
        return tar_key(self.tar_digest)

    @property
    def weight(self) -> int:
        """The size of the file in bytes; raise PackError if the file can't be read."""
        try:
            return self.file.stat().st_size
        except OSError as error:
            raise PackError(f"can't read {self.file}: {error.strerror}", path=self.file) from None

    def open_tar(self) -> BinaryIO:
        """Open the tar; raise PackError if that is impossible."""
        try:
            return self.file.open("rb")
        except OSError as error:
            raise PackError(f"can't read {self.file}: {error.strerror}", path=self.file) from None

    def entries(self) -> Iterator[Entry]:
        """Yield the members; raise PackError or ImageError if the tar can't be read."""
        with self.open_tar() as stream:
            for member in TarReader(stream, self.subject):
                xattrs = tuple(member.xattrs.items())
                yield Entry(
                    member.name,
                    member.kind,
                    member.mode,
                    member.size,
                    member.target,
                    attributes=Attributes.owned_by(member.uid, member.gid, member.device, xattrs),
                )

    def names(self) -> Iterator[bytes]:
        """Yield the names of the members; raise PackError or ImageError if they can't be read."""
        return (entry.name for entry in self.entries())

    def write_tar(self, write: Write) -> None:
        """Write the file's bytes; raise PackError if their digest is not the expected one."""
        tar = Hashing(write)
        try:
            with self.file.open("rb", buffering=0) as stream:
                while chunk := stream.read(CHUNK):
                    tar.write(chunk)
        except OSError as error:
            raise PackError(f"can't read {self.file}: {error.strerror}", path=self.file) from None
        if tar.digest != self.tar_digest:
            raise PackError(
                f"{self.file} has the digest {tar.digest}, not {self.tar_digest}, the one"
                " recorded when it was written",
                path=self.file,
                digest=tar.digest,
            )

    def measured_tar(self) -> SizedTar:
        """Return the tar with the size of the file."""
        return SizedTar(self.weight, self.history, self.write_tar, self.key)
