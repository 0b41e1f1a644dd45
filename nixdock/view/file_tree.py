"""The files of a layer as a tree of directories, whose sizes are the sums of those of files.

Paths may be deeper than Python's stack, so nothing here is recursive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from nixdock.errors import ImageError

if TYPE_CHECKING:
    from nixdock.view.model import FileView

__all__ = ["FileNode", "ImpliedDirectories", "file_tree"]

_DIRECTORY = "directory"
# The memory in bytes of a directory, beside that of its path.
_NODE_SIZE: Final = 500
_MOST_DIRECTORIES: Final = 512 << 20


class FileNode(Struct):
    """A file or directory at an absolute path.

    `size` is the sum of the sizes of the files in it, and `items` the number of things in it, with
    itself. `file` is its entry in the layer, or None for a directory that has none. `inside` are
    the nodes in it by their names, in the order of the layer.
    """

    name: str
    path: str
    file: FileView | None = None
    size: int = 0
    items: int = 1
    inside: dict[str, FileNode] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of file, as of `FileView`; what has something in it is a directory."""
        return _DIRECTORY if self.inside or self.file is None else self.file.kind

    @property
    def is_directory(self) -> bool:
        """Whether something can be in it."""
        return self.kind == _DIRECTORY

    @property
    def target(self) -> str | None:
        """The target of a link."""
        return None if self.file is None else self.file.target

    @property
    def children(self) -> list[FileNode]:
        """The nodes in it, in the order of their names."""
        return [self.inside[name] for name in sorted(self.inside)]

    def at(self, path: str) -> FileNode | None:
        """Return the node with an absolute path below this one, the root, or None."""
        node: FileNode | None = self
        for name in _names(path):
            node = None if node is None else node.inside.get(name)
        return node

    def below(self) -> Iterator[FileNode]:
        """Yield all nodes in this one, each after the directory that it is in."""
        waiting = [*reversed(self.inside.values())]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.inside.values()))


class ImpliedDirectories(Struct):
    """The directories of a layer that have no entry of their own, counted in all trees of it.

    `size` is the memory in bytes that they take.
    """

    layer: int
    size: int = 0

    def add(self, path: str) -> None:
        """Count a directory; raise ImageError if it is one too many."""
        self.size += len(path) + _NODE_SIZE
        if self.size > _MOST_DIRECTORIES:
            raise ImageError(
                f"layer {self.layer}: the directories that have no entry of their own take more"
                f" than {_MOST_DIRECTORIES} bytes"
            )


def file_tree(files: Iterable[FileView], implied: ImpliedDirectories) -> FileNode:
    """Return the root of the tree of `files`; of several entries with one path, the last counts.

    Directories without an entry of their own are there, too. One path can imply thousands of them,
    so they are counted by `implied`; raise ImageError if they are too many. A hard link has no size
    of its own.
    """
    root = FileNode("/", "/")
    for file in files:
        node = root
        names = _names(file.path)
        for depth, name in enumerate(names, 1):
            child = node.inside.get(name)
            if child is None:
                child = FileNode(name, f"{node.path.rstrip('/')}/{name}")
                node.inside[name] = child
                if depth < len(names):
                    implied.add(child.path)
            node = child
        node.file = file
    _add_up(root)
    return root


def _add_up(root: FileNode) -> None:
    above: list[tuple[FileNode, FileNode]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        node.size = node.file.size if node.file is not None and node.file.kind == "file" else 0
        for child in node.inside.values():
            above.append((node, child))
            waiting.append(child)
    for node, child in reversed(above):
        node.size += child.size
        node.items += child.items


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
