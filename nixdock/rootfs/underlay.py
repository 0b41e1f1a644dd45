"""What lies below an image's own files: the root file system of its base image.

Where a base image has a link to a directory, such as `/bin` that leads to `/usr/bin`, files of
upper layers must go where the link leads: a directory of that name would hide it, and with it
all that the base image has there. Directories that both have keep the base image's attributes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nixdock.errors import PackError
from nixdock.read.tree import MergedTree, Node
from nixdock.tar.header import Attributes
from nixdock.tar.kinds import Kind

__all__ = ["Underlay"]


@dataclass(frozen=True, slots=True)
class Underlay:
    """The tree of a base image, empty where there is none; names are relative to `/`."""

    tree: MergedTree = field(default_factory=MergedTree)

    def directory(self, name: str) -> str:
        """Return the name of the directory that `name`, as a directory's, leads to."""
        at = b""
        for part in os.fsencode(name).split(b"/"):
            step = at + b"/" + part if at else part
            found = self.tree.resolve(step, follow=True)
            node = None if found is None else self.tree.lookup(found)
            at = found if found is not None and node is not None and node.is_directory else step
        return os.fsdecode(at)

    def has_directory(self, name: str) -> bool:
        """Tell whether there is a directory of that name, links on the way to it followed."""
        node = self.tree.lookup(os.fsencode(name), follow=True)
        return node is not None and node.is_directory

    def place(self, name: str) -> str:
        """Return where the file `name` belongs."""
        parent, slash, base = name.rpartition("/")
        return f"{self.directory(parent)}/{base}" if slash else name

    def add_links(self, into: Path) -> Mapping[str, str]:
        """Put the links to directories that lie at `/` into the tree `into`.

        So that scripts find there what a container has. Return their targets by name.
        """
        put = {}
        for name, node in sorted(self.tree.root.children.items()):
            text = os.fsdecode(name)
            target = self.directory(text)
            link = into / text
            if (
                node.kind == Kind.SYMLINK
                and target not in {"", text}
                and not os.path.lexists(link)
                and _is_own(into, target)
            ):
                (into / target).mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
                put[text] = target
        return put

    def remove_links(self, into: Path, put: Mapping[str, str]) -> None:
        """Remove the links that `add_links` has put, and move what lies where others should be."""
        for name, target in put.items():
            link = into / name
            if link.is_symlink() and os.readlink(link) == target:
                link.unlink()
                _remove_empty(into, target)
        moved = True
        while moved:
            moved = any(self._moved(into, directory, put) for directory in list(_directories(into)))

    def _moved(self, into: Path, directory: str, put: Mapping[str, str]) -> bool:
        """Move the contents of `directory` to where the base image's link leads, if it has one."""
        target = self.directory(directory)
        if target in {"", directory} or directory in put or not _is_own(into, target):
            return False
        _merge(into / directory, into / target)
        return True

    def shared_directories(self, into: Path) -> Mapping[bytes, tuple[int, Attributes]]:
        """Return modes and attributes of the directories that `into` shares with the base."""
        shared = {b"/": _attributes(self.tree.root)} if self.tree.root.layer >= 0 else {}
        for name in _directories(into):
            encoded = os.fsencode(name)
            node = self.tree.lookup(encoded)
            if node is not None and node.is_directory and node.layer >= 0:
                shared[b"/" + encoded + b"/"] = _attributes(node)
        return shared


def _is_own(top: Path, name: str) -> bool:
    """Tell whether nothing on the way to the directory `name` is a link, or no directory at all.

    A link of the image's own could lead out of the tree.
    """
    at = top
    for part in name.split("/"):
        at = at / part
        if at.is_symlink() or (at.exists() and not at.is_dir()):
            return False
    return True


def _attributes(node: Node) -> tuple[int, Attributes]:
    return node.mode, Attributes.owned_by(node.uid, node.gid, xattrs=node.xattrs)


def _directories(top: Path) -> Iterator[str]:
    """Yield the directories below `top`, each before those in it."""
    for directory, names, _ in os.walk(top):
        names.sort()
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                yield str(path.relative_to(top))


def _merge(source: Path, target: Path) -> None:
    """Move what is in `source` into the directory `target`, whose own files stay."""
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        there = target / child.name
        if child.is_dir() and not child.is_symlink() and there.is_dir() and not there.is_symlink():
            _merge(child, there)
        elif there.is_dir() and not there.is_symlink():
            raise PackError(f"{child} is a file, but belongs where {there} is a directory")
        else:
            child.replace(there)
    source.rmdir()


def _remove_empty(top: Path, name: str) -> None:
    """Remove a directory that was made for a link and holds nothing, and those above it."""
    for directory in (top / name, *(top / name).parents):
        if directory == top or not directory.is_dir() or any(directory.iterdir()):
            return
        directory.rmdir()
