"""Merge the layers of an image into one tree, as a runtime unpacks them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from nixdock.coding.decompression import MOST_EXPANDED
from nixdock.errors import ImageError, NixdockError
from nixdock.layers.hashed import buffered
from nixdock.read.deletions import delete_hidden
from nixdock.read.layer_directories import LayerDirectories
from nixdock.read.layer_rules import OVERLAY, LayerRules
from nixdock.read.opened_tars import opened_tars
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.tree import Followed, MergedTree, Node
from nixdock.read.whole_tars import OpenedTar
from nixdock.system.file_range import Range
from nixdock.system.text import shown
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import is_whiteout

__all__ = ["check_merging", "merged_tree"]

log = logging.getLogger(__name__)

# In all layers together; a node takes some hundred bytes of memory.
_MOST_NODES: Final = 2_000_000
# The memory in bytes that an extent of a sparse file takes.
_EXTENT_SIZE: Final = 150
# The total size in bytes of all names, targets and extended attributes.
_MOST_TEXT: Final = 1 << 30


@contextmanager
def merged_tree(
    layers: Sequence[StoredLayer], *, verified: bool = True, may_fork: bool = False
) -> Iterator[MergedTree]:
    """Yield the merged tree of `layers`, bottom to top; its files can be read within the block.

    With `verified`, every layer is first read once and checked against its diff_id. Otherwise, only
    the headers of an uncompressed layer are read, and the code that copies the layer must verify
    it. Raise ImageError if a layer is damaged or if runtimes can't unpack it. `may_fork` says that
    the layers are in files and that the caller has no threads.
    """
    with opened_tars(layers, verified=verified, may_fork=may_fork) as opened:
        yield _merged(layers, opened)


def check_merging(layers: Sequence[StoredLayer]) -> list[tuple[StoredLayer, str]]:
    """Return layers with warnings of what only those below them can explain.

    Raise ImageError if runtimes can't unpack `layers` one above the other.
    """
    warnings: list[tuple[StoredLayer, str]] = []
    with opened_tars(layers, verified=False) as opened:
        merging = _Merging(MergedTree())
        for number, (layer, each) in enumerate(zip(layers, opened, strict=True)):
            found = merging.add(number, each.tar, layer.place)
            warnings += ((layer, text) for text in found.of_lower)
    return warnings


def _merged(layers: Sequence[StoredLayer], opened: Iterator[OpenedTar]) -> MergedTree:
    merging = _Merging(MergedTree())
    read: list[tuple[StoredLayer, OpenedTar, list[str]]] = []
    failure: NixdockError | None = None
    try:
        for number, (layer, each) in enumerate(zip(layers, opened, strict=True)):
            warnings: list[str] = []
            read.append((layer, each, warnings))
            found = merging.add(number, each.tar, layer.subject)
            warnings += (*found.of_layer, *found.of_lower)
    except NixdockError as error:
        failure = error
    # What else is wrong with a damaged layer, and all above it, counts for nothing.
    for layer, each, warnings in read:
        each.verify()
        for warning in warnings:
            log.warning("%s: %s", layer.subject, warning)
    if failure is not None:
        raise failure
    return replace(merging.tree, tars=tuple(each.tar for _, each, _ in read))


class _Link(NamedTuple):
    """A hard link, whose attributes the file has from then on: they are in one inode."""

    target: bytes
    mode: int
    uid: int
    gid: int
    xattrs: tuple[tuple[bytes, bytes], ...]

    def give_to(self, node: Node) -> None:
        """Give them to the file; like Docker, Podman and containerd, and unlike umoci."""
        if node.kind != Kind.SYMLINK:
            node.mode = self.mode
        node.uid, node.gid = self.uid, self.gid
        if self.xattrs:
            node.xattrs = tuple(sorted({**dict(node.xattrs), **dict(self.xattrs)}.items()))


class _Warnings(NamedTuple):
    """Warnings of what a layer has, and of how that meets with the layers below it."""

    of_layer: Sequence[str]
    of_lower: Sequence[str]


class _LayerFiles(Struct):
    """The files of a layer by name, in its order, with their nodes or as hard links.

    `whiteouts` are among the files, too, with neither: their directories are made, like all others.
    `hidden` are files with the names of whiteouts, which other such files may be links to.
    """

    whiteouts: list[bytes] = field(default_factory=list)
    hidden: dict[bytes, Node] = field(default_factory=dict)
    files: list[tuple[bytes, Node | _Link | None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def directories(self) -> set[bytes]:
        """The names of the directories that the layer lists."""
        return {name for name, file in self.files if isinstance(file, Node) and file.is_directory}


class _Merging(Struct):
    """A tree to which layers are added, bottom to top.

    `nodes` and `text` count the files and the bytes of their names and attributes so far, `sparse`
    the bytes of sparse files.
    """

    tree: MergedTree
    nodes: int = 0
    text: int = 0
    sparse: int = 0
    followed: Followed = field(default_factory=Followed)

    def add(self, number: int, tar: Range, place: str) -> _Warnings:
        """Add a layer; return warnings about it."""
        layer = self._read(number, tar, place)
        if layer.whiteouts:
            # They delete files of lower layers only, so apply them first.
            delete_hidden(self.tree, layer.whiteouts, layer.directories)
        directories = LayerDirectories(self.tree, number, place, self.followed)
        layer.files.reverse()
        while layer.files:
            name, file = layer.files.pop()
            if file is None:
                directories.directory(name.rpartition(b"/")[0], of_whiteout=True)
            else:
                self._put(name, file, layer.hidden, directories)
            if directories.created:
                self.nodes += directories.created
                directories.created = 0
                self._check(place)
        return _Warnings(layer.warnings, directories.warnings())

    def _read(self, number: int, tar: Range, place: str) -> _LayerFiles:
        rules = LayerRules()
        layer = _LayerFiles()
        for member in TarReader(buffered(tar.part(0, tar.size)), place, sparse=True):
            name = rules.add(member)
            if rules.messages:
                raise ImageError(f"{place}: {rules.messages[0]}", place=place)
            if is_whiteout(name):
                layer.whiteouts.append(name)
                layer.files.append((name, None))
                if member.kind == Kind.FILE:
                    layer.hidden[name] = _node(number, member)
            elif member.kind == Kind.HARD_LINK:
                layer.files.append((name, _link(member)))
            else:
                layer.files.append((name, _node(number, member)))
            self._count(member, place)
        layer.warnings += rules.warnings.values()
        return layer

    def _count(self, member: Member, place: str) -> None:
        """Count a file, so that a hostile layer can't use up the memory."""
        self.nodes += 1
        self.text += len(member.name) + len(member.target)
        if member.pax:
            self.text += sum(map(len, member.pax.values()))
        if member.extents is not None:
            self.text += _EXTENT_SIZE * len(member.extents)
            self.sparse += member.size
        self._check(place)

    def _check(self, place: str) -> None:
        if self.sparse > MOST_EXPANDED:
            raise ImageError(
                f"{place}: the sparse files have more than {MOST_EXPANDED} bytes", place=place
            )
        if self.nodes > _MOST_NODES or self.text > _MOST_TEXT:
            raise ImageError(
                f"{place}: the layers up to this one have more than {_MOST_NODES} files, or more"
                f" than {_MOST_TEXT} bytes of names and extended attributes",
                place=place,
            )

    def _put(
        self,
        name: bytes,
        file: Node | _Link,
        hidden: dict[bytes, Node],
        directories: LayerDirectories,
    ) -> None:
        if isinstance(file, _Link):
            node = self._target(name, file.target, hidden, directories.place)
            file.give_to(node)
        else:
            node = file
        if not name:
            node.children = self.tree.root.children
            _copy_attributes(node, self.tree.root)
            return
        directory, _, base = name.rpartition(b"/")
        siblings = directories.directory(directory).children
        old = siblings.get(base)
        if node.is_directory and old is not None and old.is_directory:
            _copy_attributes(node, old)
            return
        if old is not None:
            # Some directories may have been found through it.
            directories.forget()
        siblings[base] = node

    def _target(self, name: bytes, target: bytes, hidden: dict[bytes, Node], place: str) -> Node:
        """Return the file to which the hard link `name` leads, perhaps in a lower layer."""
        if is_whiteout(target):
            node = hidden.get(target)
        else:
            node = self.tree.lookup(target, followed=self.followed)
            self.followed.check(place)
        if node is None or node.is_directory:
            raise ImageError(
                f"{place}: the hard link {shown(name)!r} is to {shown(target)!r}, which is not an"
                " earlier file",
                place=place,
            )
        return node


# Only directories get children; a dictionary for every file would take much memory.
_NO_CHILDREN: Final[dict[bytes, Node]] = {}


def _node(number: int, member: Member) -> Node:
    _, kind, mode, uid, gid, size, mtime, target, device, offset, pax, extents = member
    xattrs = _visible_xattrs(member) if pax else ()
    # A header may have a target without a meaning.
    target = target if kind == Kind.SYMLINK else b""
    children = {} if kind == Kind.DIRECTORY else _NO_CHILDREN
    return Node(
        *(kind, mode & 0o7777, uid, gid, mtime, size, target, device),
        *(xattrs, number, offset, extents, children),
    )


def _link(member: Member) -> _Link:
    xattrs = _visible_xattrs(member) if member.pax else ()
    return _Link(normalised(member.target), member.mode & 0o7777, member.uid, member.gid, xattrs)


def _visible_xattrs(member: Member) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes, without those that a container can't see."""
    xattrs = member.xattrs
    if not xattrs:
        return ()
    return tuple(pair for pair in sorted(xattrs.items()) if not pair[0].startswith(OVERLAY))


def _copy_attributes(new: Node, old: Node) -> None:
    """Give an existing directory the attributes that a later layer has for it."""
    old.mode, old.uid, old.gid, old.mtime = new.mode, new.uid, new.gid, new.mtime
    old.xattrs, old.layer = new.xattrs, new.layer
