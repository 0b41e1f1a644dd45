"""The files of a layer as a tree of directories, whose sizes are the sums of those of files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nixdock.view.model import FileView

__all__ = ["FileNode", "file_tree"]


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file, or a directory with its `children` in the order of their names.

    `size` is the sum of the sizes of the files in it, and `count` their number; a file counts
    itself. `target` is that of a link.
    """

    name: str
    kind: str
    size: int
    count: int
    target: str | None = None
    children: tuple[FileNode, ...] = ()


class _Directory:
    """A directory that is being filled."""

    def __init__(self) -> None:
        self.directories: dict[str, _Directory] = {}
        self.others: dict[str, FileNode] = {}

    def node(self, name: str) -> FileNode:
        children = [child.node(each) for each, child in self.directories.items()]
        children += (node for each, node in self.others.items() if each not in self.directories)
        return FileNode(
            name,
            "directory",
            sum(child.size for child in children),
            sum(child.count for child in children),
            children=tuple(sorted(children, key=lambda child: child.name)),
        )


def file_tree(files: Iterable[FileView], below: str = "/") -> FileNode:
    """Return the tree of the `files` in the directory `below`, or the file `below` itself.

    Directories without an entry of their own are there, too. Of several entries with one path, the
    last one counts.
    """
    base = below.rstrip("/")
    root = _Directory()
    for file in files:
        if file.path == base and file.kind != "directory":
            return _leaf(base.rpartition("/")[2], file)
        inside = file.path.removeprefix(base + "/")
        if inside == file.path or not inside:
            continue
        *parents, name = inside.split("/")
        directory = root
        for parent in parents:
            directory = directory.directories.setdefault(parent, _Directory())
        if file.kind == "directory":
            directory.directories.setdefault(name, _Directory())
        else:
            directory.others[name] = _leaf(name, file)
    return root.node(base.rpartition("/")[2] or "/")


def _leaf(name: str, file: FileView) -> FileNode:
    return FileNode(name, file.kind, file.size, 1, file.target)
