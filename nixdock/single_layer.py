"""One layer for all: the image's own files, and the store paths behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nixdock.digest import Write
from nixdock.errors import PackError
from nixdock.layer import LayerHistory, StoreLayer, TarLayer
from nixdock.source.names import normalised
from nixdock.source.tar_reader import TarReader
from nixdock.tar_header import BLOCK, Entry, Headers, padded_size
from nixdock.tarball import write_end, write_members

__all__ = ["SingleLayer"]

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SingleLayer:
    """The members of `own`, and of `store` whatever `own` doesn't have."""

    own: TarLayer
    store: StoreLayer

    @property
    def weight(self) -> int:
        """The sum of both."""
        return self.own.weight + self.store.weight

    @property
    def history(self) -> LayerHistory:
        """What is in it, for people."""
        own, store = self.own.history, self.store.history
        return LayerHistory(own.created_by, f"{own.comment} and {store.comment}")

    def write_to(self, write: Write) -> None:
        """Write the tar."""
        size, names = self._own_members()
        self._write(write, size, self._store_entries(names))

    def measure(self) -> tuple[int, Callable[[Write], object]]:
        """Return the tar's size and its writer."""
        headers = Headers(self.store.meta)
        size, names = self._own_members()
        entries = list(self._store_entries(names))
        whole = padded_size(size + sum(map(headers.member_size, entries)))
        return whole, lambda write: self._write(write, size, entries)

    def _own_members(self) -> tuple[int, frozenset[bytes]]:
        """Return the size of the members of `own`, and their names."""
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

        # The whole file is read, for its digest is that of its end as well.
        self.own.write_to(write_start)
        if left:
            raise PackError(f"{self.own.file} changed while it was read")
        write_end(size + write_members(entries, Headers(self.store.meta), write), write)
