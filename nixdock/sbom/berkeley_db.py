"""Hash databases of Berkeley DB, in which rpm kept its packages until version 4.15.

A file is pages of equal size. The first, of metadata, tells the size, and the byte order by that of
its magic number. Each bucket of the hash table has a page, which may be the first of a chain. At
the start of a page, after 26 bytes, are the offsets of its items, in turn keys and values, which
lie one before another from the page's end. An item that does not fit is in a chain of overflow
pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from nixdock.sbom.unknown_format import UnknownFormatError

__all__ = ["hash_records"]

_MAGIC: Final = 0x061561
_OTHERS: Final = {0x053162: "a B-tree", 0x042253: "a queue", 0x074582: "a heap"}
# Where its pages of metadata have the magic number, and where those of version 1.85 have it.
_MAGIC_AT, _OLD_MAGIC_AT = 12, 0
_VERSIONS: Final = range(8, 11)
_PAGE_SIZES: Final = frozenset(1 << bits for bits in range(9, 17))
_METADATA_SIZE: Final = 224
# Kinds of pages.
_UNSORTED, _OVERFLOW, _METADATA, _SORTED = 2, 7, 8, 13
# Kinds of items.
_ON_PAGE, _OFF_PAGE = 1, 3
_OFF_PAGE_SIZE: Final = 12
_HEADER_SIZE: Final = 26
# Flags of the metadata: pages with checksums, and a file with several databases.
_CHECKSUMS, _SEVERAL = 1, 2


def hash_records(data: bytes, most_value: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of each record, in the order of the buckets.

    Raise UnknownFormatError if `data` is no such database, and ValueError if it is damaged or has a
    value of over `most_value` bytes. No page is read twice, so the time is bounded by the size of
    `data`.
    """
    order = _byte_order(data)
    if len(data) < _METADATA_SIZE:
        raise ValueError("its page of metadata is too short")
    version, page_size, encryption, kind, features = struct.unpack_from(f"{order}2I3B", data, 16)
    if version not in _VERSIONS:
        raise UnknownFormatError(f"version {version} of hash databases of Berkeley DB")
    if page_size not in _PAGE_SIZES or kind != _METADATA:
        raise ValueError("its page of metadata is damaged")
    (last_page,) = struct.unpack_from(f"{order}I", data, 32)
    (flags,) = struct.unpack_from(f"{order}I", data, 48)
    if encryption or features & _CHECKSUMS or flags & _SEVERAL:
        raise UnknownFormatError(
            "a hash database of Berkeley DB that is encrypted, has checksums or is one of several"
        )
    (last_bucket,) = struct.unpack_from(f"{order}I", data, 72)
    # Each bucket has a page of its own.
    if last_bucket >= last_page:
        raise ValueError(f"it has {last_page} pages, but {last_bucket + 1} buckets")
    # The first pages of buckets lie together in groups, of 1, 1, 2, 4 and so on.
    groups = struct.unpack_from(f"{order}32I", data, 96)
    pages = _Pages(data, order, page_size, last_page, most_value)
    for bucket in range(last_bucket + 1):
        yield from pages.records(bucket + groups[min(bucket.bit_length(), len(groups) - 1)])


def _byte_order(data: bytes) -> str:
    for order in "<>":
        found, old = (
            struct.unpack_from(f"{order}I", data, at)[0] if len(data) >= at + 4 else None
            for at in (_MAGIC_AT, _OLD_MAGIC_AT)
        )
        if found == _MAGIC:
            return order
        if found in _OTHERS:
            raise UnknownFormatError(f"{_OTHERS[found]} of Berkeley DB, not a hash database")
        if old == _MAGIC or old in _OTHERS:
            raise UnknownFormatError("a database of Berkeley DB 1.85")
    raise UnknownFormatError("no hash database of Berkeley DB")


class _Page(Struct, frozen=True):
    kind: int
    next: int
    entries: int
    used: int
    data: bytes


class _Pages(Struct, frozen=True):
    data: bytes
    order: str
    size: int
    last: int
    most_value: int
    read: set[int] = field(default_factory=set)

    def records(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records of a bucket, whose first page is `number`."""
        while True:
            page = self._page(number)
            if page.kind not in {_UNSORTED, _SORTED} and any(page.data):
                raise ValueError(f"page {number} is not one of a bucket")
            items = list(self._items(page, number))
            if len(items) % 2:
                raise ValueError(f"page {number} has a key without a value")
            for key, value in zip(items[::2], items[1::2], strict=True):
                yield self._contents(key), self._contents(value)
            if not page.next:
                return
            number = page.next

    def _page(self, number: int) -> _Page:
        data = self.data[number * self.size : (number + 1) * self.size]
        if not 0 < number <= self.last or len(data) != self.size:
            raise ValueError(f"page {number} is not in the file")
        if number in self.read:
            raise ValueError(f"page {number} is in use twice")
        self.read.add(number)
        own, _, following, entries, used, _, kind = struct.unpack_from(
            f"{self.order}3I2H2B", data, 8
        )
        # The page of a bucket without records may never have been written.
        if own != number and any(data):
            raise ValueError(f"page {number} has the number {own}")
        return _Page(kind, following, entries, used, data)

    def _items(self, page: _Page, number: int) -> Iterator[bytes]:
        first = _HEADER_SIZE + 2 * page.entries
        if first > self.size:
            raise ValueError(f"page {number} has too many items")
        end = self.size
        for offset in struct.unpack_from(f"{self.order}{page.entries}H", page.data, _HEADER_SIZE):
            if not first <= offset < end:
                raise ValueError(f"page {number} has an item that is not in it")
            yield page.data[offset:end]
            end = offset

    def _contents(self, item: bytes) -> bytes:
        if item[0] == _ON_PAGE:
            return item[1:]
        if item[0] != _OFF_PAGE or len(item) != _OFF_PAGE_SIZE:
            raise ValueError(f"an item of kind {item[0]} and {len(item)} bytes is not known")
        number, size = struct.unpack_from(f"{self.order}2I", item, 4)
        if size > self.most_value:
            raise ValueError(f"a value has {size} bytes, but may have at most {self.most_value}")
        contents = bytearray()
        while number and len(contents) < size:
            page = self._page(number)
            if page.kind != _OVERFLOW or page.used > self.size - _HEADER_SIZE:
                raise ValueError(f"page {number} is not a page of a large value")
            contents += page.data[_HEADER_SIZE : _HEADER_SIZE + page.used]
            number = page.next
        if len(contents) != size or number:
            raise ValueError(f"a value has not the {size} bytes that it is to have")
        return bytes(contents)
