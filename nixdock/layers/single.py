"""One layer for the whole image: the top layer's members, followed by the store paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from nixdock.errors import PackError
from nixdock.layers.created import CreatedLayer, SizedTar, check_size, measured
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


class SingleLayer(CreatedLayer, frozen=True):
    """The members of `top`, then the members of `store` that are not in `top`."""

    top: TarLayer
    store: StoreLayer

    @property
    def is_remote(self) -> bool:
        """Whether a store path comes from a binary cache that is far away."""
        return self.store.is_remote

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
        self._write(write, size, self._without(self.store.entries(), names))

    def measured_tar(self) -> SizedTar:
        """Return the tar with its size."""
        headers = Headers(self.store.meta)
        size, names = self._top_members()
        rest, kept = measured(self._without(self.store.listing(), names), headers)
        total = padded_size(size + rest)

        def write_to(write: Write) -> None:
            entries = self._without(self.store.entries(), names) if kept is None else kept
            check_size(self._write(write, size, entries), total, self.history)

        return SizedTar(total, self.history, write_to, self.key)

    def _top_members(self) -> tuple[int, frozenset[bytes]]:
        """Return the size in bytes of the members of `top`, and their normalised names."""
        size = 0
        names = set()
        with self.top.file.open("rb") as stream:
            for member in TarReader(stream, str(self.top.file)):
                names.add(normalised(member.name))
                size = member.offset + member.size + -member.size % BLOCK
        return size, frozenset(names)

    @staticmethod
    def _without(entries: Iterable[Entry], names: frozenset[bytes]) -> Iterator[Entry]:
        for entry in entries:
            if normalised(entry.name) not in names:
                yield entry

    def _write(self, write: Write, size: int, entries: Iterable[Entry]) -> int:
        """Write the first `size` bytes of the top layer, then `entries`; return the whole size."""
        left = size

        def write_start(data: memoryview | bytes) -> None:
            nonlocal left
            write(data[:left])
            left -= min(left, len(data))

        # This reads the whole file, because its digest covers the end-of-archive marker, too.
        self.top.write_tar(write_start)
        if left:
            raise PackError(f"{self.top.file} changed while it was read", path=self.top.file)
        return write_end(size + write_members(entries, Headers(self.store.meta), write), write)
