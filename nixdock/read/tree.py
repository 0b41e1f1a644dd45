"""The merged file system of an image's layers, as a tree in memory.

Symlinks are followed as in a container with the tree as its root, so they never lead out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.layers.hashed import buffered
from nixdock.system.file_range import Range
from nixdock.tar.header import name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.sparse import Extents, SparseReader

__all__ = ["Followed", "MergedTree", "Node"]

_MOST_LINKS: Final = 40
# In all look-ups for an image: those of one may be 80,000.
_MOST_FOLLOWED: Final = 50_000_000


class Node(Struct, eq=False):
    """A file of the tree; hard links are several names of one node.

    `layer` is the index of the layer that the file is from, or -1 for a directory that is in no
    layer. A regular file's contents start at the byte `offset` of that layer's tar; with `extents`,
    only these parts of them are there.
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
    extents: Extents | None = None
    children: dict[bytes, Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        """Whether the file is a directory."""
        return self.kind == Kind.DIRECTORY


class Followed(Struct):
    """How many components the symlinks have had in all that were followed."""

    components: int = 0

    def check(self, place: str) -> None:
        """Raise ImageError with `place` if they are too many, as in a hostile image alone."""
        if self.components > _MOST_FOLLOWED:
            raise ImageError(
                f"{place}: the symbolic links that lead to files of the layers up to this one have"
                f" more than {_MOST_FOLLOWED} components",
                place=place,
            )


class MergedTree(Struct, frozen=True):
    """A tree of files. Names have no leading or trailing slash; that of the root is empty."""

    root: Node = field(default_factory=lambda: Node(Kind.DIRECTORY))
    tars: tuple[Range, ...] = ()

    def lookup(
        self, name: bytes, *, follow: bool = False, followed: Followed | None = None
    ) -> Node | None:
        """Return the file with that name or None, following symlinks as `resolve` does."""
        resolved = self.resolve(name, follow=follow, followed=followed)
        return None if resolved is None else self._node(resolved)

    def resolve(
        self, name: bytes, *, follow: bool = False, followed: Followed | None = None
    ) -> bytes | None:
        """Return `name` with the symlinks among its directories resolved.

        With `follow`, a symlink at its end is resolved, too. The last component need not exist.
        Return None if a directory is missing or is not one, or if there are too many symlinks.
        The components of symlinks are added to `followed`.
        """
        # Components yet to be resolved, the next one last.
        parts = _components(name)[::-1]
        # The resolved components, with their files.
        path: list[tuple[bytes, Node]] = []
        links = 0
        while parts:
            part = parts.pop()
            if part == b"..":
                # The parent of the root is the root, as in a chroot.
                path = path[:-1]
                continue
            directory = path[-1][1] if path else self.root
            if not directory.is_directory:
                return None
            child = directory.children.get(part)
            if child is None:
                return None if parts else b"/".join([*(name for name, _ in path), part])
            if child.kind == Kind.SYMLINK and (parts or follow):
                links += 1
                if links > _MOST_LINKS:
                    return None
                if child.target.startswith(b"/"):
                    path = []
                components = _components(child.target)
                if followed is not None:
                    followed.components += len(components)
                parts += reversed(components)
                continue
            path.append((part, child))
        return b"/".join(name for name, _ in path)

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield all files except the root: a directory before its contents, siblings by name."""
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
        """Open a regular file for reading."""
        tar = self.tars[node.layer]
        if node.extents is None:
            return buffered(tar.part(node.offset, node.size))
        stored = tar.part(node.offset, sum(length for _, length in node.extents))
        return buffered(SparseReader(stored, node.size, node.extents))

    @staticmethod
    def _sorted(prefix: bytes, directory: Node) -> Iterator[tuple[bytes, Node]]:
        children = directory.children
        return iter([(prefix + name, children[name]) for name in sorted(children, key=name_text)])

    def _node(self, name: bytes) -> Node | None:
        node: Node | None = self.root
        for part in name.split(b"/") if name else []:
            node = node.children.get(part) if node is not None else None
        return node


def _components(name: bytes) -> list[bytes]:
    return [part for part in name.split(b"/") if part and part != b"."]
