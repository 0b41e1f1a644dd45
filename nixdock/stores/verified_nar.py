"""NARs as they come from caches: decompressed in a thread, and compared with what was promised."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Final

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import CacheError, StoreError
from nixdock.native.sha256 import Sha256, new_sha256
from nixdock.nix.cache_files import NarInfo
from nixdock.nix.closure import PathInfo
from nixdock.nix.content_address import ContentAddress
from nixdock.nix.hashes import Hash
from nixdock.nix.modulo_hash import ModuloHash
from nixdock.nix.nar import NarReader
from nixdock.nix.nar_entry import NarEntry
from nixdock.nix.nar_strings import CHUNK
from nixdock.nix.registrations import known_nar_hash
from nixdock.system.text import shown

__all__ = ["PromisedNar", "VerifiedNar", "coding_of_nar", "decompressed"]

Failure = Callable[[str], CacheError]

_PLACE: Final = "what was sent"
# What is decompressed at once may exceed the size before that is noticed.
_SURPLUS: Final = 1 << 20


def coding_of_nar(compression: str) -> Coding | None:
    """Return the compression format with the name that narinfos give it, or None."""
    try:
        return Coding(compression)
    except ValueError:
        return None


def decompressed(stream: io.RawIOBase, found: NarInfo, failure: Failure) -> io.RawIOBase:
    """Return the NAR that `stream` brings compressed, which need not be what `found` promises.

    Reading raises what `failure` makes of the message if it can't be decompressed.
    """
    coding = coding_of_nar(found.compression)
    if coding is None:
        stream.close()
        raise failure(
            f"its NAR is compressed with {shown(found.compression)}, which nixdock does not know"
        )
    if coding is Coding.NONE:
        return stream
    most = found.info.nar_size + _SURPLUS
    return DecompressedReader(stream, coding, most=most, failure=failure, any_ratio=True)


class PromisedNar:
    """The bytes of a NAR in pieces, whose number and hash are compared with those in a narinfo.

    `ca` is the content address from which the store path has its name, if it has. The last piece
    is only returned if all are as promised. Closing it closes `stream`.
    """

    def __init__(
        self, stream: io.RawIOBase, found: NarInfo, ca: ContentAddress | None, failure: Failure
    ) -> None:
        self._stream = stream
        self._failure = failure
        self._size = 0
        self._promised_size = found.info.nar_size
        nar_hash = known_nar_hash(found.info)
        self._state = _new_hash(nar_hash.algorithm)
        self._hashes: list[tuple[Hash, Sha256 | ModuloHash]] = [(nar_hash, self._state)]
        if ca is not None and ca.method == "nar":
            self._hashes.append((ca.hash, _hash_in_address(ca, found.info)))
        # The next piece, which is held back until it is known whether it is the last one.
        self._next: bytes | None = None
        # The SHA-256 of all pieces before the last one, once that is there.
        self._before_last: bytes | None = None
        # How many bytes were returned.
        self.passed = 0

    def next_piece(self) -> bytes:
        """Return the next piece, none at the end.

        Raise what `failure` makes of the message if the NAR has another size or hash.
        """
        piece = self._read() if self._next is None else self._next
        if not piece and self.passed:
            return b""
        self._next = self._read() if piece else b""
        if not self._next:
            self._before_last = self._state.digest()
        for _, state in self._hashes:
            state.update(piece)
        if not self._next:
            self._check()
        self.passed += len(piece)
        return piece

    def passed_digest(self) -> bytes:
        """Return the SHA-256 of the bytes that were returned, after an error."""
        return self._state.digest() if self._before_last is None else self._before_last

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _read(self) -> bytes:
        data = self._stream.read(CHUNK) or b""
        if not self._size:
            # A small NAR is a single piece, so that all of it is verified before it is used.
            while len(data) < CHUNK and (more := self._stream.read(CHUNK - len(data))):
                data += more
        self._size += len(data)
        if self._size > self._promised_size:
            raise self._failure(
                f"its NAR has more than the {self._promised_size} bytes that were promised"
            )
        return data

    def _check(self) -> None:
        if self._size != self._promised_size:
            raise self._failure(
                f"its NAR has {self._size} bytes, not the {self._promised_size} that were promised"
            )
        for expected, state in self._hashes:
            if expected.digest not in _digests(state):
                actual = Hash(expected.algorithm, _digests(state)[0])
                raise self._failure(f"the hash of its NAR is {actual}, not {expected} as promised")


def _new_hash(algorithm: str) -> Sha256:
    return new_sha256() if algorithm == "sha256" else hashlib.new(algorithm, usedforsecurity=False)


def _digests(state: Sha256 | ModuloHash) -> tuple[bytes, ...]:
    return state.digests() if isinstance(state, ModuloHash) else (state.digest(),)


def _hash_in_address(ca: ContentAddress, info: PathInfo) -> Sha256 | ModuloHash:
    if info.path in info.references:
        return ModuloHash(ca.hash.algorithm, info.path.hash_part.encode())
    return _new_hash(ca.hash.algorithm)


class VerifiedNar:
    """The entries of a NAR, and the contents of its files, as NarReader has them.

    `ca` is the content address of the store path, if that is what makes it trusted: that of a
    single file is compared with the file at its end. Both raise what `failure` makes of the message
    if the NAR is not valid, or not the promised one.
    """

    def __init__(self, stream: io.RawIOBase, ca: ContentAddress | None, failure: Failure) -> None:
        self._reader = NarReader(stream, _PLACE)
        self._failure = failure
        is_file = ca is not None and ca.method != "nar"
        self._expected = ca.hash if is_file and ca is not None else None
        algorithm = "sha256" if self._expected is None else self._expected.algorithm
        self._state = hashlib.new(algorithm, usedforsecurity=False)

    def __iter__(self) -> Iterator[NarEntry]:
        """Yield the entries, once."""
        try:
            if self._expected is None:
                yield from self._reader
            else:
                yield from self._single_file(self._expected)
        except StoreError as error:
            raise self._failure(str(error)) from None

    def read(self, most: int, /) -> memoryview:
        """Return the next bytes of the last file, at most so many; none at its end."""
        try:
            data = self._reader.read(most)
        except StoreError as error:
            raise self._failure(str(error)) from None
        if self._expected is not None:
            self._state.update(data)
        return data

    def _single_file(self, expected: Hash) -> Iterator[NarEntry]:
        for entry in self._reader:
            if entry.kind != "regular":
                raise self._failure("it is not the single file that its content address is of")
            yield entry
            while self.read(CHUNK):
                pass
        actual = Hash(expected.algorithm, self._state.digest())
        if actual != expected:
            raise self._failure(
                f"the hash of its file is {actual}, not {expected} as in its content address"
            )
