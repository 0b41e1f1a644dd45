"""Exporting the root file system of an image as one tar."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK
from nixdock.oci.descriptor import Platform
from nixdock.oci.location import Location
from nixdock.read.merging import merged_tree
from nixdock.read.selection import is_among_others, select_image
from nixdock.read.tree import MergedTree, Node
from nixdock.registry.opening import open_location
from nixdock.system.buffers import Write
from nixdock.system.file_range import Range
from nixdock.system.freed_memory import keep_freed_memory
from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK, padded_size
from nixdock.tar.header import Attributes, Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["export_image", "write_tree"]

log = logging.getLogger(__name__)

_ZEROS: Final = bytes(BLOCK)
# Of this size and above, passing a piece on by itself, often to another thread, takes less than
# copying it.
_LEAST_PASSED_ON: Final = 1 << 18
# Of this size and above, a file is read by itself.
_LEAST_READ_ALONE: Final = 1 << 16
# How much is read at once of small files that follow one another, and how far apart they may be:
# between two of them are headers, and perhaps files that an upper layer replaces.
_READ_AHEAD: Final = 1 << 18
_NEAR: Final = 1 << 14


def export_image(
    location: Location,
    write: Write,
    *,
    mtime: int,
    name: str | None = None,
    tag: str | None = None,
    platform: Platform | None = None,
    access: Access | None = None,
) -> None:
    """Write the root file system of the image with that name, tag and platform as a tar.

    Every layer is verified before the first byte is written. `mtime` is the time of all members,
    in seconds. Of several images, the first one counts, which is logged unless a name or a tag is
    given. Raise what `open_location` raises, and InputError if there is no such image.
    """
    keep_freed_memory()
    # An uncompressed layer is read twice: to verify it, and to copy its files.
    with open_location(location, access, platform=platform or Platform(), keep=True) as file:
        image = select_image(file, name, tag, platform)
        if name is None and tag is None and is_among_others(file, image):
            log.warning(
                "%s has other images, too; this is %s: choose one by its name or tag",
                file.path,
                ", ".join(image.names) or image.config_digest,
            )
        with merged_tree(image.layers, may_fork=file.is_local) as tree:
            write_tree(tree, write, mtime=mtime)


def write_tree(tree: MergedTree, write: Write, *, mtime: int) -> None:
    """Write `tree` as a tar: `./` first, each directory before its files, sorted by name.

    Owners, modes, extended attributes and hard links are kept; a hard link follows its file. All
    times are `mtime`. Raise ImageError if the image changes while it is read.
    """
    headers = Headers(MemberMeta(mtime=mtime))
    output = _BufferedOutput(write)
    small = _SmallFiles(tree.tars)
    for entry, node in _entries(tree):
        output.write(headers.encode(entry))
        size = entry.size
        if 0 < size < _LEAST_READ_ALONE and node.extents is None:
            contents = small.read(node)
            if len(contents) != size:
                raise _changed(entry)
            output.write(contents)
            output.write(_ZEROS[: -size % BLOCK])
        elif size:
            _write_file(tree, node, entry, output)
    output.write(bytes(padded_size(output.size) - output.size))
    output.flush()


def _entries(tree: MergedTree) -> Iterator[tuple[Entry, Node]]:
    yield _entry(b"./", tree.root), tree.root
    first_names: dict[Node, bytes] = {}
    for path, node in tree.walk():
        name = b"./" + path + (b"/" if node.is_directory else b"")
        # Only regular files become hard links: other members have no data to save.
        if node.kind == Kind.FILE:
            first_name = first_names.setdefault(node, name)
            if first_name is not name:
                link = _entry(name, node)._replace(kind=Kind.HARD_LINK, size=0, target=first_name)
                yield link, node
                continue
        yield _entry(name, node), node


def _entry(name: bytes, node: Node) -> Entry:
    return Entry(name, node.kind, node.mode, node.size, node.target, attributes=_attributes(node))


def _attributes(node: Node) -> Attributes | None:
    if not (node.uid or node.gid or node.xattrs or any(node.device)):
        return None
    return Attributes.owned_by(node.uid, node.gid, node.device, node.xattrs)


def _write_file(tree: MergedTree, node: Node, entry: Entry, output: _BufferedOutput) -> None:
    size = node.size
    done = 0
    file = None if node.extents is None else tree.open(node)
    while done < size:
        most = min(size - done, CHUNK)
        if file is None:
            chunk = tree.tars[node.layer].read_at(node.offset + done, most)
        else:
            chunk = file.read(most)
        if not chunk:
            raise _changed(entry)
        output.write(chunk)
        done += len(chunk)
    output.write(_ZEROS[: -size % BLOCK])


def _changed(entry: Entry) -> ImageError:
    name = shown(entry.name)
    return ImageError(f"{name!r} in the image changed while it was read", place=name)


class _SmallFiles:
    """The contents of small files, which are read together where they follow one another."""

    def __init__(self, tars: Sequence[Range]) -> None:
        self._tars = tars
        # What was read last: of which tar, from where on, and the bytes.
        self._layer = -1
        self._start = 0
        self._data = b""

    def read(self, node: Node) -> bytes:
        """Return the contents of a file, or less if its tar has become shorter."""
        start = node.offset - self._start
        end = start + node.size
        if node.layer != self._layer or start < 0 or end > len(self._data):
            # Files that are in another order than those of the image are not read again and again.
            is_next = node.layer == self._layer and 0 <= start - len(self._data) < _NEAR
            most = _READ_AHEAD if is_next else node.size
            self._data = self._tars[node.layer].read_at(node.offset, most)
            self._layer, self._start = node.layer, node.offset
            start, end = 0, node.size
        return self._data[start:end]


class _BufferedOutput:
    """Collect bytes and write them in chunks that are large enough for a system call each."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._buffered = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        size = len(data)
        self.size += size
        if size >= _LEAST_PASSED_ON:
            self.flush()
            self._write(data)
            return
        self._pieces.append(data)
        self._buffered += size
        if self._buffered >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self._write(b"".join(self._pieces))
        self._pieces.clear()
        self._buffered = 0
