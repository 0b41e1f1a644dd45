"""The root file system of the base image, below an image's own files.

Where a base image has a symlink to a directory, such as `/bin` that leads to `/usr/bin`, files of
upper layers must go into the target: a directory at the symlink's path would hide the symlink, and
so the files that the base image has there. Directories that are in the base image, too, keep its
attributes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nixdock.errors import PackError
from nixdock.read.tree import MergedTree, Node
from nixdock.rootfs.obstacles import find_obstacle
from nixdock.tar.header import Attributes
from nixdock.tar.kinds import Kind

__all__ = ["Underlay"]


@dataclass(frozen=True, slots=True)
class Underlay:
    """The root file system of a base image, empty if there is none; paths are relative to `/`."""

    base_tree: MergedTree = field(default_factory=MergedTree)

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no files but the root, so that no path leads elsewhere."""
        return not self.base_tree.root.children

    def real_directory(self, path: str) -> str:
        """Return where a directory at `path` lies, once the symlinks in `path` are followed.

        Parts of the path that are not directories in the base image stay as they are.
        """
        if self.is_empty:
            return path
        # Invariant: `real` is the real directory of the parts before `part`.
        real = b""
        for part in os.fsencode(path).split(b"/"):
            child = real + b"/" + part if real else part
            resolved = self.base_tree.resolve(child, follow=True)
            node = None if resolved is None else self.base_tree.lookup(resolved)
            is_directory = node is not None and node.is_directory
            real = resolved if resolved is not None and is_directory else child
        return os.fsdecode(real)

    def has_directory(self, path: str) -> bool:
        """Tell whether `path` is a directory, or a symlink that leads to one."""
        node = self.base_tree.lookup(os.fsencode(path), follow=True)
        return node is not None and node.is_directory

    def real_path(self, path: str) -> str:
        """Return where a file at `path` lies, once the symlinks in its directory are followed."""
        parent, slash, name = path.rpartition("/")
        return f"{self.real_directory(parent)}/{name}" if slash else path

    def add_directory_links(self, tree: Path) -> Mapping[str, str]:
        """Add the symlinks to directories that the base image has in `/` to the directory `tree`.

        Scripts find the same directories there as in a container. Return the links' targets by
        name.
        """
        links = {}
        for encoded_name, node in sorted(self.base_tree.root.children.items()):
            name = os.fsdecode(encoded_name)
            target = self.real_directory(name)
            link = tree / name
            if (
                node.kind == Kind.SYMLINK
                and target not in {"", name}
                and not os.path.lexists(link)
                and find_obstacle(tree, target) is None
            ):
                (tree / target).mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
                links[name] = target
        return links

    def remove_directory_links(self, tree: Path, links: Mapping[str, str]) -> None:
        """Remove the `links` that `add_directory_links` has added to `tree`.

        Also move files out of directories where the base image has a symlink to a directory, to
        where that leads. Raise PackError if a file and a directory would get the same path.
        """
        if self.is_empty:
            return
        for name, target in links.items():
            link = tree / name
            if link.is_symlink() and os.readlink(link) == target:
                link.unlink()
                _remove_empty_directories(tree, target)
        # A move may bring directories to where they have to be moved again: start over after each.
        while any(self._move_to_target(tree, path, links) for path in list(_directories(tree))):
            pass

    def _move_to_target(self, tree: Path, path: str, links: Mapping[str, str]) -> bool:
        """Move the directory `path` to where the base image's symlink at `path` leads, if any.

        Tell whether it was moved. Where a script has replaced one of `links`, its directory stays.
        """
        target = self.real_directory(path)
        if target in {"", path} or path in links or find_obstacle(tree, target) is not None:
            return False
        _merge_directories(tree, tree / path, tree / target)
        return True

    def shared_directories(self, tree: Path) -> Mapping[bytes, tuple[int, Attributes]]:
        """Return the base image's mode and attributes of each directory that `tree` has, too.

        The keys are the names of tar members: absolute, with a slash at the end.
        """
        root = self.base_tree.root
        shared = {b"/": _attributes(root)} if root.layer >= 0 else {}
        if self.is_empty:
            return shared
        for path in _directories(tree):
            encoded = os.fsencode(path)
            node = self.base_tree.lookup(encoded)
            if node is not None and node.is_directory and node.layer >= 0:
                shared[b"/" + encoded + b"/"] = _attributes(node)
        return shared


def _attributes(node: Node) -> tuple[int, Attributes]:
    return node.mode, Attributes.owned_by(node.uid, node.gid, xattrs=node.xattrs)


def _directories(top: Path) -> Iterator[str]:
    """Yield the paths of the directories below `top`, relative to it, parents first."""
    for directory, names, _ in os.walk(top):
        names.sort()
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                yield str(path.relative_to(top))


def _merge_directories(top: Path, source: Path, target: Path) -> None:
    """Move the contents of `source` into `target`, where they replace files of the same name."""
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        new_path = target / child.name
        if not os.path.lexists(new_path):
            child.replace(new_path)
        elif _is_real_directory(child) != _is_real_directory(new_path):
            path, other_path = f"/{child.relative_to(top)}", f"/{new_path.relative_to(top)}"
            raise PackError(
                f"only one of {path} and {other_path} is a directory, but both are the same path in"
                " the image, because of a symlink in the base image; remove one of them",
                path=path,
            )
        elif _is_real_directory(child):
            _merge_directories(top, child, new_path)
        else:
            child.replace(new_path)
    source.rmdir()


def _is_real_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_empty_directories(top: Path, path: str) -> None:
    """Remove the directory `path` below `top` and its parents, as far as they are empty."""
    for directory in (top / path, *(top / path).parents):
        if directory == top or not directory.is_dir() or any(directory.iterdir()):
            return
        directory.rmdir()
