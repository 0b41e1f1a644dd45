"""TarSum: a checksum of the files in a tar that does not depend on their order.

The algorithm is defined by Docker's "TarSum Checksum Specification". Where that is ambiguous, this
module follows Go's archive/tar, because the published sums were computed with it.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from nixdock.system.readers import ReadOnlyStream
from nixdock.tar.fields import BLOCK, parse_number
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.reader import TarReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ALGORITHMS", "TarSumVersion", "tarsum"]

ALGORITHMS: Final = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
"""The hash functions of published sums, the usual one first."""

_ZEROS: Final = bytes(2 * BLOCK)
# More than the reader reads in advance: a chunk, an extended header and the header after it.
_LOOK_BACK: Final = 4 << 20


class TarSumVersion(StrEnum):
    """The version decides which fields count. `DEV` has the same rules as `V1`."""

    V0 = "tarsum"
    V1 = "tarsum.v1"
    DEV = "tarsum.dev"


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def tarsum(
    stream: io.RawIOBase | BinaryIO,
    version: TarSumVersion = TarSumVersion.V1,
    algorithm: str = ALGORITHMS[0],
    *,
    names: bool = True,
    extra: bytes = b"",
    what: str = "the tar",
) -> str:
    """Return the sum of the tar in `stream`, as VERSION+ALGORITHM:HEX.

    Without `names`, the names of users and groups count as empty: Docker does so since 2018,
    although its specification includes them. `extra` is hashed before the sums of the files; old
    registries put the layer's JSON there. A missing end-of-archive marker does not change the sum.
    Raise ImageError, with `what` as its subject, if the tar is malformed.
    """

    def fields(member: Member, header: _Header) -> Iterator[bytes]:
        return _fields(member, header, version, names=names)

    total = _new(algorithm)
    total.update(extra)
    for digest in _in_order(list(_files(stream, fields, algorithm, what))):
        total.update(digest.encode())
    return f"{version}+{algorithm}:{total.hexdigest()}"


def _new(algorithm: str) -> _Hash:
    return hashlib.new(algorithm, usedforsecurity=False)


def _in_order(files: list[tuple[bytes, str]]) -> list[str]:
    """Return the sorted sums, except that sums of the same path keep the order of their members."""
    by_path: defaultdict[bytes, list[str]] = defaultdict(list)
    for path, digest in files:
        by_path[path].append(digest)
    pending = {path: iter(digests) for path, digests in by_path.items()}
    return [next(pending[path]) for path, _ in sorted(files, key=lambda file: (file[1], file[0]))]


def _files(
    stream: io.RawIOBase | BinaryIO,
    fields: Callable[[Member, _Header], Iterator[bytes]],
    algorithm: str,
    what: str,
) -> Iterator[tuple[bytes, str]]:
    """Yield each member's path and sum."""
    tap = _Tap(stream)
    path, digest = b"", None
    # Do not buffer `tap`: that would read the end of the tar before its last member is known.
    for member in TarReader(cast(BinaryIO, tap), what):
        if digest is not None:
            yield path, digest.hexdigest()
        path = posixpath.normpath(b"/" + member.name.lstrip(b"/"))
        digest = _new(algorithm)
        header = _Header(tap.header(member))
        for data in fields(member, header):
            digest.update(data)
        tap.pass_to(digest, member)
    if digest is not None:
        yield path, digest.hexdigest()


def _fields(
    member: Member, header: _Header, version: TarSumVersion, *, names: bool
) -> Iterator[bytes]:
    """Yield the bytes to hash for a member's header."""
    pax = member.pax
    size = int(pax[b"size"]) if b"size" in pax else header.number(124, 136)
    yield b"name" + member.name
    yield b"mode%d" % header.number(100, 108)
    yield b"uid%dgid%dsize%d" % (member.uid, member.gid, size)
    if version is TarSumVersion.V0:
        yield b"mtime%d" % _seconds(member)
    yield b"typeflag" + (header.flag if header.flag != b"\0" else _flag_of(member))
    yield b"linkname" + member.target
    yield b"uname" + (pax.get(b"uname", header.text(265, 297)) if names else b"")
    yield b"gname" + (pax.get(b"gname", header.text(297, 329)) if names else b"")
    yield b"devmajor%d" % header.device(329, 337)
    yield b"devminor%d" % header.device(337, 345)
    if version is not TarSumVersion.V0:
        for key, value in sorted(member.xattrs.items()):
            yield key + value


def _flag_of(member: Member) -> bytes:
    return b"5" if member.kind == Kind.DIRECTORY else b"0"


def _seconds(member: Member) -> int:
    # Round down the text: a float may be rounded up to the next second.
    text = member.pax.get(b"mtime")
    if text is None:
        return int(member.mtime)
    whole, _, fraction = text.partition(b".")
    below = whole.startswith(b"-") and bool(fraction.strip(b"0"))
    return int(whole) - below


class _Header:
    """The fields of a header that `Member` does not have, or not unchanged."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self.flag = block[156:157]
        # Headers without this magic number have neither owner names nor device numbers.
        self._extended = block[257:262] == b"ustar"

    def text(self, start: int, end: int) -> bytes:
        """Return a string; it is empty in a header before ustar."""
        return self._block[start:end].partition(b"\0")[0] if self._extended else b""

    def device(self, start: int, end: int) -> int:
        """Return a device number, which members of any kind may have; it is 0 before ustar."""
        return self.number(start, end) if self._extended else 0

    def number(self, start: int, end: int) -> int:
        """Return a number, which the reader has checked."""
        return parse_number(self._block[start:end]) or 0


class _Tap(ReadOnlyStream):
    """Pass on a stream, keep the header of the current member, and hash its contents."""

    def __init__(self, stream: io.RawIOBase | BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        # The last bytes before `_position`, from `_start` on.
        self._window = bytearray()
        self._start = 0
        self._position = 0
        self._digest: _Hash | None = None
        self._missing = 0
        self._padded_end = 0
        self._ended = False

    def header(self, member: Member) -> bytes:
        """Return the block before the contents of `member`, which the reader has just returned."""
        at = member.offset - self._start
        return bytes(self._window[at - BLOCK : at])

    def pass_to(self, digest: _Hash, member: Member) -> None:
        """Pass the contents of `member` to `digest`, now or when they are read."""
        at = member.offset - self._start
        with memoryview(self._window) as view:
            ready = view[at : at + member.size]
            digest.update(ready)
            self._missing = member.size - len(ready)
            ready.release()
        self._digest = digest
        self._padded_end = member.offset + member.size + -member.size % BLOCK

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes; add the end-of-archive marker if the stream has none."""
        with memoryview(buffer) as view:
            count = _read_into(self._stream, view)
            if count:
                self._record(view[:count])
            elif self._at_member_boundary() and not self._ended:
                self._ended = True
                count = min(len(view), len(_ZEROS))
                view[:count] = _ZEROS[:count]
            return count

    def _at_member_boundary(self) -> bool:
        return self._position % BLOCK == 0 and self._position >= self._padded_end

    def _record(self, data: memoryview) -> None:
        self._position += len(data)
        if self._missing and self._digest is not None:
            content = data[: self._missing]
            self._digest.update(content)
            self._missing -= len(content)
            data = data[len(content) :]
            # The bytes before these are contents too, or a header that is no longer needed.
            self._window.clear()
        elif len(self._window) > 2 * _LOOK_BACK:
            del self._window[:-_LOOK_BACK]
        self._window += data
        self._start = self._position - len(self._window)


def _read_into(stream: io.RawIOBase | BinaryIO, view: memoryview) -> int:
    data = stream.read(len(view)) or b""
    view[: len(data)] = data
    return len(data)
