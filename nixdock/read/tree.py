"""The root file system that layers make together, as a tree that is never unpacked.

Whiteouts and opaque directories act on what lower layers hold, links in a name's directories
lead where they would lead in a container, and never outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from nixdock.layers.hashed import buffered
from nixdock.system.file_range import Range
from nixdock.tar.header import name_text
from nixdock.tar.kinds import Kind

__all__ = ["MergedTree", "Node"]

_MOST_LINKS: Final = 40


@dataclass(slots=True, eq=False)
class Node:
    """A file of the tree; hard links are one node under several names.

    `layer` is the number of the layer that it comes from, -1 for a directory that no layer
    describes; `offset` is where a file's bytes start in that layer's tar.
    """

    kind: bytes
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
        return self.kind == Kind.DIRECTORY


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The merged layers; names have neither a leading nor a trailing slash, the root is empty."""

    root: Node = field(default_factory=lambda: Node(Kind.DIRECTORY))
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
            if child is not None and child.kind == Kind.SYMLINK and (parts or follow):
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
