"""The files of a layer as directories, with what is in each of them added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nixdock.view.model import FileView

__all__ = ["Node", "directory_tree"]


@dataclass(slots=True)
class Node:
    """A file or directory: `size` and `items` count it with everything in it.

    `file` is None for a directory that the layer has no entry of.
    """

    name: str
    path: str
    file: FileView | None = None
    size: int = 0
    items: int = 1
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        """Whether something can be in it."""
        return bool(self.children) or self.file is None or self.file.kind == "directory"

    def at(self, path: str) -> Node | None:
        """Return the node with an absolute path below this one, the root, or None."""
        node: Node | None = self
        for name in _names(path):
            node = None if node is None else node.children.get(name)
        return node

    def below(self) -> Iterator[Node]:
        """Yield all nodes in this one, each after the directory that it is in."""
        waiting = [*reversed(self.children.values())]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children.values()))


def directory_tree(files: Iterable[FileView]) -> Node:
    """Return the root of the tree of `files`; of entries with the same path, the last one counts.

    A hard link has no size of its own.
    """
    root = Node("/", "/")
    for file in files:
        node = root
        for name in _names(file.path):
            child = node.children.get(name)
            if child is None:
                child = Node(name, f"{node.path.rstrip('/')}/{name}")
                node.children[name] = child
            node = child
        node.file = file
    _add_up(root)
    return root


def _add_up(root: Node) -> None:
    # Not recursive: paths may be deeper than Python's stack.
    above: list[tuple[Node, Node]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        node.size = node.file.size if node.file is not None and node.file.kind == "file" else 0
        for child in node.children.values():
            above.append((node, child))
            waiting.append(child)
    for node, child in reversed(above):
        node.size += child.size
        node.items += child.items


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
