"""Exporting an image: the root file system that its layers make together, as one tar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.read.selection import select_image
from nixdock.read.tree import MergedTree, Node
from nixdock.system.buffers import Write
from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK, padded_size
from nixdock.tar.header import Attributes, Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind

__all__ = ["export_image", "write_tree"]

_KINDS: Final = {
    Kind.FILE: Kind.FILE,
    Kind.SYMLINK: Kind.SYMLINK,
    Kind.CHARACTER_DEVICE: Kind.CHARACTER_DEVICE,
    Kind.BLOCK_DEVICE: Kind.BLOCK_DEVICE,
    Kind.DIRECTORY: Kind.DIRECTORY,
    Kind.FIFO: Kind.FIFO,
}


def export_image(
    path: Path, write: Write, *, mtime: int, name: str | None = None, tag: str | None = None
) -> None:
    """Hand the root file system of the image of that name and tag to `write`, as a tar.

    Every layer is verified before the first byte. Raise InputError when the image is not there,
    ImageError when it is damaged.
    """
    with open_image(path) as file, merged_tree(select_image(file, name, tag).layers) as tree:
        write_tree(tree, write, mtime=mtime)


def write_tree(tree: MergedTree, write: Write, *, mtime: int) -> None:
    """Hand `tree` to `write` as a tar: `./` first, a directory before its files, sorted by name.

    Owners, modes and extended attributes are kept, and so are hard links, each behind the file
    that it is to; all times are `mtime`.
    """
    headers = Headers(MemberMeta(mtime=mtime))
    gathered = _Gathered(write)
    for entry, node in _entries(tree):
        gathered.write(headers.encode(entry))
        if entry.size:
            _write_file(tree, node, entry, gathered)
    gathered.write(bytes(padded_size(gathered.size) - gathered.size))
    gathered.flush()


def _entries(tree: MergedTree) -> Iterator[tuple[Entry, Node]]:
    yield _entry(b"./", tree.root), tree.root
    first_names: dict[Node, bytes] = {}
    for name, node in tree.walk():
        member = b"./" + name + (b"/" if node.is_directory else b"")
        # What is not a file is no larger than a link to it would be.
        if node.kind == Kind.FILE:
            first = first_names.setdefault(node, member)
            if first is not member:
                yield _entry(member, node)._replace(kind=Kind.HARD_LINK, size=0, target=first), node
                continue
        yield _entry(member, node), node


def _entry(member: bytes, node: Node) -> Entry:
    return Entry(
        name=member,
        kind=_KINDS[node.kind],
        mode=node.mode,
        size=node.size,
        target=node.target,
        attributes=_attributes(node),
    )


def _attributes(node: Node) -> Attributes | None:
    if not (node.uid or node.gid or node.xattrs or any(node.device)):
        return None
    return Attributes.owned_by(node.uid, node.gid, node.device, node.xattrs)


def _write_file(tree: MergedTree, node: Node, entry: Entry, gathered: _Gathered) -> None:
    file = tree.tars[node.layer].part(node.offset, node.size)
    left = node.size
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise ImageError(f"{shown(entry.name)!r} changed while it was read")
        gathered.write(chunk)
        left -= len(chunk)
    gathered.write(bytes(-node.size % BLOCK))


class _Gathered:
    """Hand on bytes in pieces that are worth a system call."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._waiting = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)
        self.size += len(data)
        if self._waiting >= CHUNK:
            self.flush()

    def flush(self) -> None:
        self._write(b"".join(self._pieces))
        self._pieces.clear()
        self._waiting = 0
