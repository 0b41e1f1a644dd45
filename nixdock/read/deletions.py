"""What the whiteouts of a layer delete from the tree of the layers below it."""

from __future__ import annotations

from collections.abc import Container, Iterable

from nixdock.read.tree import MergedTree, Node
from nixdock.tar.whiteouts import AUFS, OPAQUE, WHITEOUT

__all__ = ["delete_hidden"]


def delete_hidden(
    tree: MergedTree, whiteouts: Iterable[bytes], directories: Container[bytes]
) -> None:
    """Delete from `tree` what a layer hides with the names `whiteouts`, in whichever order.

    As in an overlay file system, they hide nothing below a symlink of a lower layer, in whose place
    a directory is put; nothing in those of the layer's own `directories` that they name; and not
    all of the root directory.
    """
    pairs = [(name.rpartition(b"/")[0], name.rpartition(b"/")[2]) for name in whiteouts]
    hidden = [
        (directory, base)
        for directory, base in pairs
        if base == OPAQUE or (base.startswith(WHITEOUT) and not base.startswith(AUFS))
    ]
    # All are looked up first: what one deletes must not decide where another one leads. A layer may
    # have many whiteouts in one directory.
    found = {directory: _directory(tree, directory) for directory in {each for each, _ in hidden}}
    for directory, base in hidden:
        node = found[directory]
        if node is None:
            continue
        if base == OPAQUE:
            if directory:
                node.children.clear()
            continue
        target = base.removeprefix(WHITEOUT)
        if (directory + b"/" + target if directory else target) not in directories:
            node.children.pop(target, None)


def _directory(tree: MergedTree, name: bytes) -> Node | None:
    """Return the directory with exactly that name, or None."""
    node: Node | None = tree.root
    for part in name.split(b"/") if name else ():
        node = node.children.get(part) if node is not None else None
    return node if node is not None and node.is_directory else None
