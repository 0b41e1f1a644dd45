"""The root file system that layers make together, as a tree that is never unpacked.

Whiteouts and opaque directories act on what lower layers hold, links in a name's directories
lead where they would lead in a container, and never outside.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from nixdock.errors import ImageError
from nixdock.source.decompress import MOST_EXPANDED, Coding
from nixdock.source.hashed import CHUNK, buffered, drain
from nixdock.source.image import SourceLayer
from nixdock.source.layer_rules import AUFS, OPAQUE, WHITEOUT, LayerRules, is_hidden
from nixdock.source.members import Range
from nixdock.source.names import normalised
from nixdock.source.problem import shown
from nixdock.source.tar_reader import Member, MemberKind, TarReader
from nixdock.tar_header import name_text

__all__ = ["MergedTree", "Node", "merged_tree"]

_MOST_LINKS: Final = 40
# Of all layers together; a node takes some hundred bytes.
_MOST_NODES: Final = 4_000_000
# Of all names, targets and extended attributes, in bytes.
_MOST_TEXT: Final = 1 << 30


@dataclass(slots=True, eq=False)
class Node:
    """A file of the tree; hard links are one node under several names.

    `layer` is the number of the layer that it comes from, -1 for a directory that no layer
    describes; `offset` is where a file's bytes start in that layer's tar.
    """

    kind: MemberKind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    size: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    layer: int = -1
    offset: int = 0
    children: dict[bytes, Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return self.kind is MemberKind.DIRECTORY


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The merged layers; names have neither a leading nor a trailing slash, the root is empty."""

    root: Node = field(default_factory=lambda: Node(MemberKind.DIRECTORY))
    tars: tuple[Range, ...] = ()

    def lookup(self, name: bytes, *, follow: bool = False) -> Node | None:
        """Return the file of that name, or None; `follow` a link at its end, too."""
        found = self.resolve(name, follow=follow)
        return None if found is None else self._at(found)

    def resolve(self, name: bytes, *, follow: bool = False) -> bytes | None:
        """Return the name that `name` has when links on the way to it are followed.

        None if that leads through something that is not there or not a directory.
        """
        parts = list(reversed([part for part in name.split(b"/") if part and part != b"."]))
        at: list[tuple[bytes, Node]] = []
        links = 0
        while parts:
            part = parts.pop()
            if part == b"..":
                # Above the root there is the root, as in a chroot.
                at = at[:-1]
                continue
            here = at[-1][1] if at else self.root
            if not here.is_directory:
                return None
            child = here.children.get(part)
            if child is not None and child.kind is MemberKind.SYMLINK and (parts or follow):
                links += 1
                if links > _MOST_LINKS:
                    return None
                if child.target.startswith(b"/"):
                    at = []
                steps = [p for p in child.target.split(b"/") if p and p != b"."]
                parts += reversed(steps)
                continue
            if child is None:
                if parts:
                    return None
                return b"/".join([*(name for name, _ in at), part])
            at.append((part, child))
        return b"/".join(name for name, _ in at)

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield all files but the root: a directory before its contents, siblings by name."""
        pending = [self._sorted(b"", self.root)]
        while pending:
            for name, node in pending[-1]:
                yield name, node
                if node.is_directory:
                    pending.append(self._sorted(name + b"/", node))
                    break
            else:
                pending.pop()

    def open(self, node: Node) -> BinaryIO:
        """Open a file's bytes."""
        return buffered(self.tars[node.layer].part(node.offset, node.size))

    @staticmethod
    def _sorted(prefix: bytes, directory: Node) -> Iterator[tuple[bytes, Node]]:
        children = directory.children
        return iter([(prefix + name, children[name]) for name in sorted(children, key=name_text)])

    def _at(self, name: bytes) -> Node | None:
        node: Node | None = self.root
        for part in name.split(b"/") if name else []:
            node = node.children.get(part) if node is not None else None
        return node


@contextmanager
def merged_tree(layers: Sequence[SourceLayer], *, verified: bool = True) -> Iterator[MergedTree]:
    """Give the tree that `layers`, bottom to top, make; its files can be read within the block.

    With `verified`, every layer is read once and checked against its diff_id first. Without, an
    uncompressed layer's headers alone are read, and whoever copies the layer must verify it.
    Raise ImageError for a layer that is damaged or that no runtime would unpack.
    """
    with ExitStack() as stack:
        opened = _Opened(stack, verified=verified)
        tars = tuple(opened.tar(layer) for layer in layers)
        merging = _Merging(MergedTree(tars=tars))
        for number, (layer, tar) in enumerate(zip(layers, tars, strict=True)):
            merging.add(number, tar, layer.place)
        yield merging.tree


@dataclass(slots=True)
class _Opened:
    """Layers' tars as files in which one can seek; a layer that stands twice is read once."""

    stack: ExitStack
    verified: bool
    tars: dict[SourceLayer, Range] = field(default_factory=dict)
    expanded: int | None = None
    size: int = 0

    def tar(self, layer: SourceLayer) -> Range:
        if layer not in self.tars:
            in_place = layer.coding is Coding.NONE
            self.tars[layer] = self._in_place(layer) if in_place else self._expanded(layer)
        return self.tars[layer]

    def _in_place(self, layer: SourceLayer) -> Range:
        if self.verified:
            with layer.open_tar() as stream:
                drain(stream)
        return self.stack.enter_context(layer.open_range())

    def _expanded(self, layer: SourceLayer) -> Range:
        """Expand a layer into the one file that holds all such layers."""
        if self.expanded is None:
            temporary = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (the stack closes it)
            self.expanded = self.stack.enter_context(temporary).fileno()
        start = self.size
        with layer.open_tar() as stream:
            while chunk := stream.read(CHUNK):
                self.size += len(chunk)
                if self.size > MOST_EXPANDED:
                    raise ImageError(
                        f"{layer.place}: the layers expand to more than {MOST_EXPANDED} bytes"
                    )
                while chunk:
                    chunk = chunk[os.write(self.expanded, chunk) :]
        return Range(self.expanded, start, self.size - start)


@dataclass(slots=True)
class _Merging:
    """Layers under way into one tree."""

    tree: MergedTree
    nodes: int = 0
    text: int = 0

    def add(self, number: int, tar: Range, place: str) -> None:
        rules = LayerRules()
        whiteouts: list[bytes] = []
        linked: dict[bytes, Node] = {}
        files: list[tuple[bytes, Node | bytes]] = []
        for member in TarReader(buffered(tar.part(0, tar.size)), place):
            rules.add(member)
            if rules.messages:
                raise ImageError(f"{place}: {rules.messages[0]}")
            name = normalised(member.name)
            if is_hidden(name):
                whiteouts.append(name)
                # AUFS keeps hard links' targets in a directory of its own.
                if member.kind is MemberKind.FILE:
                    linked[name] = _node(number, member)
            elif member.kind is MemberKind.HARD_LINK:
                files.append((name, normalised(member.target)))
            else:
                files.append((name, _node(number, member)))
            self._count(member, place)
        # What a layer deletes is what lower layers have, wherever in the tar it says so.
        for name in whiteouts:
            self._delete(name)
        for name, file in files:
            self._put(name, file, linked, place)

    def _count(self, member: Member | None, place: str) -> None:
        """Count a file, so that a hostile layer does not take all memory."""
        self.nodes += 1
        if member is not None:
            self.text += len(member.name) + len(member.target)
            if member.pax:
                self.text += sum(map(len, member.pax.values()))
        if self.nodes > _MOST_NODES or self.text > _MOST_TEXT:
            raise ImageError(
                f"{place}: the layers so far hold more than {_MOST_NODES} files, or more than"
                f" {_MOST_TEXT} bytes of names and extended attributes"
            )

    def _delete(self, name: bytes) -> None:
        directory, _, base = name.rpartition(b"/")
        if not base.startswith(WHITEOUT):
            return
        parent = self.tree.lookup(directory, follow=True)
        if parent is None or not parent.is_directory:
            return
        if base == OPAQUE:
            parent.children.clear()
        elif not base.startswith(AUFS):
            parent.children.pop(base.removeprefix(WHITEOUT), None)

    def _put(self, name: bytes, file: Node | bytes, linked: dict[bytes, Node], place: str) -> None:
        # The layer's rules have seen to it that a hard link's target stands before it.
        node = linked[file] if isinstance(file, bytes) else file
        linked[name] = node
        if not name:
            node.children = self.tree.root.children
            _copy_attributes(node, self.tree.root)
            return
        directory, _, base = name.rpartition(b"/")
        siblings = self._directory(directory, place).children
        old = siblings.get(base)
        if node.is_directory and old is not None and old.is_directory:
            _copy_attributes(node, old)
            linked[name] = old
        else:
            siblings[base] = node

    def _directory(self, name: bytes, place: str) -> Node:
        """Return the directory of that name, made where it is missing."""
        found = self.tree.lookup(name, follow=True)
        if found is None:
            found = self._made(name, place)
        if not found.is_directory:
            raise ImageError(
                f"{place}: it has files below {shown(name)!r}, which is a {found.kind.value}"
            )
        return found

    def _made(self, name: bytes, place: str) -> Node:
        at = b""
        node = self.tree.root
        for part in name.split(b"/"):
            at = at + b"/" + part if at else part
            child = node.children.get(part)
            if child is not None and not child.is_directory:
                child = self.tree.lookup(at, follow=True)
                if child is None or not child.is_directory:
                    raise ImageError(
                        f"{place}: it has files below {shown(at)!r}, which leads to no directory"
                    )
            if child is None:
                child = node.children[part] = Node(MemberKind.DIRECTORY)
                self._count(None, place)
            node = child
        return node


def _node(number: int, member: Member) -> Node:
    return Node(
        kind=member.kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime=member.mtime,
        size=member.size,
        target=member.target,
        device=member.device,
        xattrs=tuple(sorted(member.xattrs.items())) if member.pax else (),
        layer=number,
        offset=member.offset,
    )


def _copy_attributes(new: Node, old: Node) -> None:
    """Give a directory that is there already what a later layer says of it."""
    old.mode, old.uid, old.gid, old.mtime = new.mode, new.uid, new.gid, new.mtime
    old.xattrs, old.layer = new.xattrs, new.layer
