"""NARs that go on with the next copy of a store path where one can't be read."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from nixdock.errors import CacheError
from nixdock.native.sha256 import new_sha256
from nixdock.nix.content_address import ContentAddress
from nixdock.stores.cache_files import cache_error
from nixdock.stores.search import Copy, Search
from nixdock.stores.verified_nar import PromisedNar
from nixdock.system.buffers import whole_bytes
from nixdock.system.readers import ReadOnlyStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from nixdock.nix.cache_files import NarInfo

__all__ = ["ContinuedNar"]


class _OtherBytesError(Exception):
    """A copy does not begin with the bytes that were passed on."""


class ContinuedNar(ReadOnlyStream):
    """The bytes of a NAR, from the first copy that `search` finds, or those behind it.

    What was passed on can't be taken back: a copy that goes on must have the same NAR hash, and
    begin with the same bytes. Each is compared with its own promise as a whole, before its last
    bytes are passed on. Creating and reading this raises the error of the search if no copy is
    left.
    """

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search
        self._copies = iter(search)
        self._nar: PromisedNar | None = None
        # How much copies that failed have passed on, and its SHA-256.
        self._passed = 0
        self._digest = b""
        # The cache of the last one, and why it failed.
        self._place = ""
        self._reason = ""
        self._copy = self._next_copy()
        # From here on, it must be this NAR.
        self._piece = memoryview(self._next_piece())

    @property
    def found(self) -> NarInfo:
        """The narinfo of the copy that is read."""
        return self._copy.found

    @property
    def address(self) -> ContentAddress | None:
        """The content address that the store path has its name from, if it is one."""
        return self._copy.cache.content_address(self._copy.found)

    def failure(self, message: str) -> CacheError:
        """Return an error about what was read, which can't be taken back."""
        if len(self._search.caches) > 1:
            message += "; a part of it has been used, so another store helps only without this one"
        return cache_error(str(self._copy.cache), self._search.path, message)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` of the next bytes, none at the end."""
        if size < 0:
            return self.readall()
        if not self._piece:
            self._piece = memoryview(self._next_piece())
        taken, self._piece = self._piece[:size], self._piece[size:]
        return whole_bytes(taken)

    def close(self) -> None:
        """Close the copy that is read."""
        if self._nar is not None:
            self._nar.close()
        super().close()

    def _next_piece(self) -> bytes:
        while True:
            try:
                return self._begun() if self._nar is None else self._nar.next_piece()
            except CacheError as error:
                self._go_on(error)
            except _OtherBytesError:
                raise self._spoilt() from None

    def _begun(self) -> bytes:
        """Open a copy, and return its first bytes behind those that were passed on."""
        nar = self._copy.cache.nar(self._copy.found)
        with ExitStack() as stack:
            stack.callback(nar.close)
            piece = self._behind_passed(nar)
            stack.pop_all()
        self._nar = nar
        return piece

    def _behind_passed(self, nar: PromisedNar) -> bytes:
        state = new_sha256()
        left = self._passed
        while 0 < len(piece := nar.next_piece()) <= left:
            state.update(piece)
            left -= len(piece)
        state.update(piece[:left])
        if self._passed and state.digest() != self._digest:
            # If this copy is the damaged one, that shows at its end.
            while nar.next_piece():
                pass
            raise _OtherBytesError
        return piece[left:]

    def _go_on(self, error: CacheError) -> None:
        """Let the next copy take the place of one that has failed."""
        self._search.fail(self._copy.cache, error)
        if self._nar is not None:
            self._passed, self._digest = self._nar.passed, self._nar.passed_digest()
            self._place, self._reason = str(self._copy.cache), str(error)
            self._nar.close()
            self._nar = None
        self._copy = self._next_copy()
        self._search.warn()

    def _spoilt(self) -> CacheError:
        """Return the error for damage that was passed on before it was noticed."""
        return CacheError(
            f"{self._reason}; what came of it before is not what {self._copy.cache} has, so leave"
            f" the store {self._place} out",
            place=self._place,
            path=self._search.path,
        )

    def _next_copy(self) -> Copy:
        for copy in self._copies:
            if not self._passed or copy.found.info.nar_hash == self.found.info.nar_hash:
                return copy
        raise self._search.error()
