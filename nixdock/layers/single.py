"""One layer for the whole image: the top layer's members, followed by the store paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from nixdock.errors import PackError
from nixdock.layers.created import CreatedLayer, SizedTar
from nixdock.layers.keys import combined_key
from nixdock.layers.store import StoreLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.oci.layer_blob import LayerHistory
from nixdock.system.buffers import Write
from nixdock.tar.fields import BLOCK, padded_size
from nixdock.tar.header import Entry, Headers
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.write import write_end, write_members

__all__ = ["SingleLayer"]


@dataclass(frozen=True, slots=True)
class SingleLayer(CreatedLayer):
    """The members of `top`, then the members of `store` that are not in `top`."""

    top: TarLayer
    store: StoreLayer

    @property
    def weight(self) -> int:
        """The sum of both weights."""
        return self.top.weight + self.store.weight

    @property
    def key(self) -> str | None:
        """The key of the store paths together with that of the top layer's tar."""
        return self.store.key and combined_key(self.top.key, self.store.key)

    @property
    def history(self) -> LayerHistory:
        """The layer's history entry, which describes both parts."""
        top = self.top.history
        return LayerHistory(
            f"{top.created_by} and {self.store.title}", self.store.comment(f"{top.comment} and ")
        )

    def names(self) -> Iterator[bytes]:
        """Yield the names of the members of both."""
        return chain(self.top.names(), self.store.names())

    def write_tar(self, write: Write) -> None:
        """Write the members of both as one tar."""
        size, names = self._top_members()
        self._write(write, size, self._store_entries(names))

    def measured_tar(self) -> SizedTar:
        """Return the tar with its size."""
        headers = Headers(self.store.meta)
        size, names = self._top_members()
        entries = list(self._store_entries(names))
        total = padded_size(size + sum(map(headers.member_size, entries)))
        return SizedTar(
            total, self.history, lambda write: self._write(write, size, entries), self.key
        )

    def _top_members(self) -> tuple[int, frozenset[bytes]]:
        """Return the size in bytes of the members of `top`, and their normalised names."""
        size = 0
        names = set()
        with self.top.file.open("rb") as stream:
            for member in TarReader(stream, str(self.top.file)):
                names.add(normalised(member.name))
                size = member.offset + member.size + -member.size % BLOCK
        return size, frozenset(names)

    def _store_entries(self, names: frozenset[bytes]) -> Iterator[Entry]:
        for entry in self.store.entries():
            if normalised(entry.name) not in names:
                yield entry

    def _write(self, write: Write, size: int, entries: Iterable[Entry]) -> None:
        """Write the first `size` bytes of the top layer, then `entries`."""
        left = size

        def write_start(data: memoryview | bytes) -> None:
            nonlocal left
            write(data[:left])
            left -= min(left, len(data))

        # This reads the whole file, because its digest covers the end-of-archive marker, too.
        self.top.write_tar(write_start)
        if left:
            raise PackError(f"{self.top.file} changed while it was read", path=self.top.file)
        write_end(size + write_members(entries, Headers(self.store.meta), write), write)
