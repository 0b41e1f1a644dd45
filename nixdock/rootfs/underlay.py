"""The root file system of the base image, below an image's own files.

Where a base image has a symlink to a directory, such as `/bin` that leads to `/usr/bin`, files of
upper layers must go into the target: a directory at the symlink's path would hide the symlink, and
so the files that the base image has there. Directories that are in the base image, too, keep its
attributes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field

from nixdock.errors import PackError
from nixdock.read.tree import MergedTree, Node
from nixdock.rootfs.obstacles import find_obstacle, make_directories
from nixdock.tar.header import Attributes
from nixdock.tar.kinds import Kind

__all__ = ["Underlay"]


class Underlay(Struct, frozen=True):
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
        # Invariant: `real` is the real directory of the parts before part `i`.
        real = ""
        parts = path.split("/")
        for i, part in enumerate(parts):
            child = self.real_child(real, part)
            if child is None:
                return "/".join([real, *parts[i:]] if real else parts[i:])
            real = child
        return real

    def real_child(self, real: str, name: str) -> str | None:
        """Return where the directory `name` lies in the directory at the real path `real`.

        Return None if the base image has no such directory.
        """
        if self.is_empty:
            return None
        child = os.fsencode(f"{real}/{name}" if real else name)
        resolved = self.base_tree.resolve(child, follow=True)
        node = None if resolved is None else self.base_tree.lookup(resolved)
        return (
            os.fsdecode(resolved) if resolved is not None and node and node.is_directory else None
        )

    def has_directory(self, path: str) -> bool:
        """Tell whether `path` is a directory, or a symlink that leads to one."""
        node = self.base_tree.lookup(os.fsencode(path), follow=True)
        return node is not None and node.is_directory

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
                make_directories(tree / target)
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
        while misplaced := self._misplaced_directory(tree, links):
            path, target = misplaced
            _merge_directories(tree, tree / path, tree / target)

    def _misplaced_directory(self, tree: Path, links: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the first directory at whose path the base image has a symlink, and its target.

        Where a script has replaced one of `links`, its directory stays.
        """
        # Directories with the real directories that they lie in, the next one last. What is below a
        # directory that the base image does not have is not in the base image either.
        pending = [("", name) for name in _directory_names(tree)[::-1]]
        reals = {"": ""}
        while pending:
            parent, name = pending.pop()
            path = f"{parent}/{name}" if parent else name
            target = self.real_child(reals[parent], name)
            if target is None:
                continue
            is_misplaced = target not in {"", path} and path not in links
            if is_misplaced and find_obstacle(tree, target) is None:
                return path, target
            reals[path] = target
            pending += [(path, inner) for inner in _directory_names(tree / path)[::-1]]
        return None

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
    pending = [""]
    while pending:
        path = pending.pop()
        if path:
            yield path
        names = _directory_names(top / path)
        pending += [f"{path}/{name}" if path else name for name in reversed(names)]


def _directory_names(directory: Path) -> list[str]:
    with os.scandir(directory) as scan:
        return sorted(entry.name for entry in scan if entry.is_dir(follow_symlinks=False))


def _merge_directories(top: Path, source: Path, target: Path) -> None:
    """Move the contents of `source` into `target`, where they replace files of the same name."""
    make_directories(target)
    pending = [(source, target)]
    emptied = []
    while pending:
        directory, new_directory = pending.pop()
        emptied.append(directory)
        for child in sorted(directory.iterdir()):
            new_path = new_directory / child.name
            if not os.path.lexists(new_path):
                child.replace(new_path)
            elif _is_real_directory(child) != _is_real_directory(new_path):
                path, other_path = f"/{child.relative_to(top)}", f"/{new_path.relative_to(top)}"
                raise PackError(
                    f"only one of {path} and {other_path} is a directory, but both are the same"
                    " path in the image, because of a symlink in the base image; remove one of"
                    " them",
                    path=path,
                )
            elif _is_real_directory(child):
                pending.append((child, new_path))
            else:
                child.replace(new_path)
    for directory in reversed(emptied):
        directory.rmdir()


def _is_real_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_empty_directories(top: Path, path: str) -> None:
    """Remove the directory `path` below `top` and its parents, as far as they are empty."""
    for directory in (top / path, *(top / path).parents):
        if directory == top or not directory.is_dir() or any(directory.iterdir()):
            return
        directory.rmdir()
