"""One layer for everything: the image's own files, and the store paths behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nixdock.errors import PackError
from nixdock.layers.created import CreatedLayer, SizedTar
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
    """The members of `own`, and those members of `store` that `own` does not have."""

    own: TarLayer
    store: StoreLayer

    @property
    def weight(self) -> int:
        """The sum of both weights."""
        return self.own.weight + self.store.weight

    @property
    def history(self) -> LayerHistory:
        """A comment on both parts."""
        own, store = self.own.history, self.store.history
        return LayerHistory(own.created_by, f"{own.comment} and {store.comment}")

    def write_tar(self, write: Write) -> None:
        """Write the members of both as one tar."""
        size, names = self._own_members()
        self._write(write, size, self._store_entries(names))

    def measured_tar(self) -> SizedTar:
        """Return the tar with its size."""
        headers = Headers(self.store.meta)
        size, names = self._own_members()
        entries = list(self._store_entries(names))
        whole = padded_size(size + sum(map(headers.member_size, entries)))
        return SizedTar(whole, self.history, lambda write: self._write(write, size, entries))

    def _own_members(self) -> tuple[int, frozenset[bytes]]:
        """Return the size of the members of `own` in bytes, and their names."""
        size = 0
        names = set()
        with self.own.file.open("rb") as stream:
            for member in TarReader(stream, str(self.own.file)):
                names.add(normalised(member.name))
                size = member.offset + member.size + -member.size % BLOCK
        return size, frozenset(names)

    def _store_entries(self, names: frozenset[bytes]) -> Iterator[Entry]:
        for entry in self.store.entries():
            if normalised(entry.name) not in names:
                yield entry

    def _write(self, write: Write, size: int, entries: Iterable[Entry]) -> None:
        left = size

        def write_start(data: memoryview | bytes) -> None:
            nonlocal left
            write(data[:left])
            left -= min(left, len(data))

        # The end of the file is read as well, because the digest covers the whole file.
        self.own.write_tar(write_start)
        if left:
            raise PackError(f"{self.own.file} changed while it was read", path=self.own.file)
        write_end(size + write_members(entries, Headers(self.store.meta), write), write)
