"""The directories of a merged tree in which the files of a layer are.

A layer need not list the directories of its files. Docker, Podman and containerd unpack it into an
empty directory and lay that over the layers below, so that such a directory takes the place of a
symlink there, and may have other attributes than it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.read.tree import Followed, MergedTree, Node
from nixdock.system.text import shown
from nixdock.tar.kinds import KIND_NAMES, Kind

__all__ = ["LayerDirectories"]

_USUAL_MODE: Final = 0o755


class LayerDirectories(Struct):
    """Find directories by their names in layer `number`, and make those that are missing.

    `place` is that of the layer. `created` counts the directories that were made.
    """

    tree: MergedTree
    number: int
    place: str
    followed: Followed
    created: int = 0
    # Looking them up for each file would take long.
    _found: dict[bytes, Node] = field(default_factory=dict)
    _replaced: str | None = None
    # Directories with unusual attributes that the layer has not listed when a file was below them.
    _implied: dict[bytes, Node] = field(default_factory=dict)

    def directory(self, name: bytes, *, of_whiteout: bool = False) -> Node:
        """Return the directory `name`; raise ImageError if something else is in its place.

        That of a whiteout, which may have no meaning, takes the place of anything.
        """
        known = self._found.get(name)
        if known is not None:
            return known
        node, end = self.tree.root, -1
        for part in name.split(b"/") if name else ():
            end += len(part) + 1
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = self._new()
            elif not child.is_directory:
                child = self._instead(node, part, name[:end], of_whiteout=of_whiteout)
            elif child.layer != self.number and _is_unusual(child):
                self._implied.setdefault(name[:end], child)
            node = child
        self._found[name] = node
        return node

    def _instead(self, parent: Node, part: bytes, name: bytes, *, of_whiteout: bool) -> Node:
        """Return the directory in place of what is no directory: `part` of `parent`, or `name`."""
        node = parent.children[part]
        is_own = node.layer == self.number
        directory = None if of_whiteout and not is_own else self._behind(name, node)
        if directory is not None and is_own:
            return directory
        self._replaced = self._replaced or (
            f"the layer has files below {shown(name)!r}, a {KIND_NAMES[node.kind]} of a lower"
            " layer: Docker, Podman and containerd put a directory in its place, umoci does not"
        )
        parent.children[part] = made = self._new()
        self.forget()
        return made

    def forget(self) -> None:
        """Look all directories up again: a file was replaced that may have led to some."""
        self._found.clear()

    def warnings(self) -> Sequence[str]:
        """Return warnings, the first one of each sort, when all files of the layer are there."""
        found = [] if self._replaced is None else [self._replaced]
        for name, node in self._implied.items():
            # The layer may have listed it later.
            if node.layer != self.number:
                found.append(
                    f"the layer has files below {shown(name)!r}, but no entry for it: containerd"
                    f" and umoci keep its mode {node.mode:o} and its owner {node.uid}:{node.gid},"
                    f" but with Docker and Podman it may get the mode {_USUAL_MODE:o} and the owner"
                    " 0:0"
                )
                break
        return found

    def _new(self) -> Node:
        self.created += 1
        return Node(Kind.DIRECTORY)

    def _behind(self, name: bytes, node: Node) -> Node:
        """Return the directory to which a symlink leads; raise ImageError if there is none."""
        if node.kind != Kind.SYMLINK:
            raise ImageError(
                f"{self.place}: the layer has files below {shown(name)!r}, which is a"
                f" {KIND_NAMES[node.kind]}",
                place=self.place,
            )
        directory = self.tree.lookup(name, follow=True, followed=self.followed)
        self.followed.check(self.place)
        if directory is None or not directory.is_directory:
            raise ImageError(
                f"{self.place}: the layer has files below {shown(name)!r}, which does not lead to a"
                " directory",
                place=self.place,
            )
        return directory


def _is_unusual(node: Node) -> bool:
    return (node.mode, node.uid, node.gid) != (_USUAL_MODE, 0, 0)
