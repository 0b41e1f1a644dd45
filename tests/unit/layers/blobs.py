"""Blobs in memory, for layers that already exist."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.coding.libzstd import zstd
from nixdock.errors import ImageError
from nixdock.layers.hashed import VerifiedReader, buffered
from nixdock.layers.progress import Progress
from nixdock.oci.layer_blob import LayerBlob, LayerHistory

if TYPE_CHECKING:
    from nixdock.layers.passed_on import ExistingBlob

HISTORY = LayerHistory("a test", "bytes in memory")

COMPRESS: dict[Coding, Callable[[bytes], bytes]] = {
    Coding.NONE: bytes,
    Coding.GZIP: gzip.compress,
    Coding.ZSTD: zstd.compress,
}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Pieces(io.RawIOBase):
    """A stream that returns `data` in pieces of at most `most` bytes."""

    def __init__(self, data: bytes, most: int = 1 << 18) -> None:
        super().__init__()
        self._stream = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        return self._stream.readinto(view[: self._most])


@dataclass
class MemoryBlob:
    """An ExistingBlob with the bytes `data`; `opened` counts how often they were opened."""

    data: bytes
    diff_id: str
    declared_digest: str | None
    size: int
    coding: Coding = Coding.NONE
    wrong_media_type: str | None = None
    subject: str = "layer 7 of a test"
    history: LayerHistory = HISTORY
    annotations: Mapping[str, str] = field(default_factory=dict)
    opened: int = field(default=0, init=False)

    def fault(
        self, message: str, *, digest: str | None = None, key: str | None = None
    ) -> ImageError:
        return ImageError(f"{self.subject}: {message}", place=self.subject, digest=digest, key=key)

    @classmethod
    def of(cls, tar: bytes, coding: Coding = Coding.NONE) -> MemoryBlob:
        """Return an undamaged blob."""
        data = COMPRESS[coding](tar)
        return cls(data, digest(tar), digest(data), len(data), coding)

    def media_type_error(self) -> str | None:
        return self.wrong_media_type

    def open_raw(self) -> io.RawIOBase:
        self.opened += 1
        return Pieces(self.data)

    def open_tar(self) -> io.BufferedReader:
        expected = self.declared_digest or digest(self.data)
        stream: io.RawIOBase = VerifiedReader(self.open_raw(), self.subject, expected, self.size)
        if self.coding is not Coding.NONE:
            stream = DecompressedReader(stream, self.coding, self.subject)
        return buffered(VerifiedReader(stream, self.subject, self.diff_id, None, uncompressed=True))


if TYPE_CHECKING:
    _BLOB: type[ExistingBlob] = MemoryBlob


class Packed(Progress):
    """A progress that passes the layers that are packed to a function."""

    def __init__(self, on_layer: Callable[[int, LayerBlob], object]) -> None:
        self._on_layer = on_layer

    def packed(self, index: int, blob: LayerBlob) -> None:
        self._on_layer(index, blob)
