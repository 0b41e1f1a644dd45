"""What the whiteouts of a layer delete from the tree of the layers below it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from nixdock.read.tree import Followed, MergedTree, Node
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import AUFS, OPAQUE, WHITEOUT

__all__ = ["delete_hidden"]


def delete_hidden(
    tree: MergedTree, whiteouts: Iterable[bytes], directories: set[bytes], followed: Followed
) -> None:
    """Delete from `tree` what a layer hides with the names `whiteouts`, in whichever order.

    The layer's own `directories` take the place of symlinks that lower layers have there, and what
    these lead to is not hidden. Links are counted in `followed`.
    """
    pairs = [(name.rpartition(b"/")[0], name.rpartition(b"/")[2]) for name in whiteouts]
    hidden = [
        (directory, base)
        for directory, base in pairs
        if base == OPAQUE or (base.startswith(WHITEOUT) and not base.startswith(AUFS))
    ]
    gone = {
        b"/".join([directory, target] if directory else [target])
        for directory, base in hidden
        if (target := base.removeprefix(WHITEOUT)) and base != OPAQUE
    }
    lower = _Lower(tree, directories | gone, followed)
    # All are looked up first: what one deletes must not decide where another one leads.
    found = [(lower.directory(directory), base) for directory, base in hidden]
    for node, base in found:
        if node is None:
            continue
        if base == OPAQUE:
            node.children.clear()
        else:
            node.children.pop(base.removeprefix(WHITEOUT), None)


class _Lower(Struct):
    """The directories of lower layers by names in a layer that replaces those in `replaced`."""

    tree: MergedTree
    replaced: set[bytes]
    followed: Followed
    # A layer may have many whiteouts in one directory, behind links that take long to follow.
    known: dict[bytes, Node | None] = field(default_factory=dict)
    links: dict[bytes, Node | None] = field(default_factory=dict)

    def directory(self, name: bytes) -> Node | None:
        """Return the directory to which a name leads, or None."""
        if name not in self.known:
            self.known[name] = self._directory(name)
        return self.known[name]

    def _directory(self, name: bytes) -> Node | None:
        node: Node | None = self.tree.root
        end = -1
        for part in name.split(b"/") if name else ():
            end += len(part) + 1
            child = node.children.get(part) if node is not None else None
            is_link = child is not None and child.kind == Kind.SYMLINK
            node = self._behind(name[:end]) if is_link else child
            if node is None:
                return None
        return node if node is not None and node.is_directory else None

    def _behind(self, link: bytes) -> Node | None:
        if link in self.replaced:
            return None
        if link not in self.links:
            self.links[link] = self.tree.lookup(link, follow=True, followed=self.followed)
        return self.links[link]
