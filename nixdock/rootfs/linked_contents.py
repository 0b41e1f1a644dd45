"""Joining the trees of `contents` at `/`: real directories, and symlinks to the files."""

from __future__ import annotations

import filecmp
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from nixdock.errors import SpecError
from nixdock.rootfs.content_files import kept_link, leads_out, read_errors
from nixdock.rootfs.obstacles import make_directory
from nixdock.rootfs.underlay import Underlay
from nixdock.spec.image_spec import StoreSpec
from nixdock.spec.paths import is_in_store

__all__ = ["STORE_DIR", "JoinedTree", "Place", "Reach", "link_contents", "link_into"]

log = logging.getLogger(__name__)

STORE_DIR: Final = StoreSpec().directory
# After as many, Linux gives up.
_MOST_LINKS: Final = 40

Reach = Callable[[str], None]
"""A function that lets the store path of a file be in the store, if it can be had."""


class Place(Struct, frozen=True):
    """The place of a file: its directory in the content, its real directory, and its name."""

    parent: str
    real_parent: str
    name: str

    @property
    def path(self) -> str:
        """The path of the file in the content."""
        return f"{self.parent}/{self.name}" if self.parent else self.name

    @property
    def real(self) -> str:
        """The path of the file in the tree, once the symlinks in its directory are followed."""
        return f"{self.real_parent}/{self.name}" if self.real_parent else self.name


class JoinedTree(Struct):
    """The tree that contents are joined in.

    `directory` holds the tree. The store `store_dir` is below `root`; contents that are not in the
    store are files of the machine. `origins` has the content that
    each path comes from. All paths in the tree are relative to it. `reach` is called with the
    target of a link before it is looked at below `root`.
    """

    directory: Path
    root: str
    underlay: Underlay
    store_dir: str = STORE_DIR
    reach: Reach | None = None
    origins: dict[str, str] = field(default_factory=dict)

    def source(self, content: str) -> str:
        """Return the directory from which `content` is read."""
        if not is_in_store(content, self.store_dir):
            return content
        return self.followed(f"{self.root}{content}")

    def content_directories(self, contents: Sequence[str]) -> Iterator[str]:
        """Yield each content once; raise SpecError if one does not exist.

        A content that is not a directory is ignored, with a warning.
        """
        places: dict[str, int] = {}
        for i, content in enumerate(contents):
            places.setdefault(content.rstrip("/"), i)
        for content, i in places.items():
            with read_errors(content):
                mode = self._mode(content, f"contents[{i}]")
                is_link_out = self.leads_out(f"{self.root}{content}", self.source(content))
            if not stat.S_ISDIR(mode) or is_link_out:
                log.warning("contents: %s is ignored, because it is not a directory", content)
                continue
            yield content

    def _mode(self, content: str, key: str) -> int:
        try:
            return Path(self.source(content)).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            is_below = self.root and is_in_store(content, self.store_dir)
            what = f"{content} does not exist" + (f" below {self.root}" if is_below else "")
            raise SpecError(f"{key}: {what}", key=key, path=content) from None

    def conflict(self, path: str, content: str, *, is_directory: bool) -> SpecError:
        """Return the error for a file and a directory at `path`; `content` has the second one."""
        before, now = ("a file", "a directory") if is_directory else ("a directory", "a file")
        origin = self.origins.get(path, "the base image")
        return SpecError(
            f"contents: at /{path}, {origin} has {before}, but {content} has {now}",
            key="contents",
            path=content,
        )

    def make_directory(self, content: str, path: str) -> None:
        """Make the directory `path` of `content`, and its parents, where they do not exist.

        A symlink to a directory becomes a directory with links to the files in that directory.
        Raise SpecError if an earlier content has a file at `path`.
        """
        target = self.directory / path
        if target.is_dir() and not target.is_symlink():
            return
        linked_directory = None
        if os.path.lexists(target):
            linked_directory = self._directory_behind(target, path)
            if linked_directory is None and path in self.origins:
                raise self.conflict(path, content, is_directory=True)
            # A file without an origin is the base image's: the directory replaces it.
            target.unlink()
        self.make_parents(content, path)
        origin = self.origins.setdefault(path, content)
        make_directory(target)
        if linked_directory is not None:
            self.link_directory(origin, path, linked_directory)

    def make_parents(self, content: str, path: str) -> None:
        """Make the parent directories of `path`, where they do not exist."""
        missing = []
        parent = path.rpartition("/")[0]
        while parent and not (self.directory / parent).is_dir():
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        # From the top, so that no directory asks for more than one parent.
        for directory in reversed(missing):
            self.make_directory(content, directory)

    def linked_directory(self, link: Path) -> str | None:
        """Return the directory that an absolute symlink leads to; None for any other file."""
        if not link.is_symlink():
            return None
        text = os.readlink(link)
        if not text.startswith("/"):
            return None
        target = self.below_root(text)
        return target if Path(target).is_dir() else None

    def _directory_behind(self, target: Path, path: str) -> str | None:
        """Return the directory that a content has at `path` by a symlink, which is `target`."""
        if (origin := self.origins.get(path)) is None:
            return None
        link = Path(self.source(origin), path)
        relative = str(link) if link.is_symlink() and link.is_dir() else None
        directory = self.linked_directory(target) or relative
        return None if directory is None or self.leads_out(str(link), directory) else directory

    def leads_out(self, link: str, directory: str) -> bool:
        """Tell whether a link in the store leads to a directory of this machine, outside of it."""
        stores = {self.store_dir, f"{self.root}{self.store_dir}"}
        return leads_out(os.path.dirname(link), directory, stores)  # noqa: PTH120 (text)

    def followed(self, link: str) -> str:
        """Return where a symlink leads, if that is in the store, or the symlink itself."""
        if not self.root:
            return link
        for _ in range(_MOST_LINKS):
            target = os.readlink(link) if Path(link).is_symlink() else ""
            if not is_in_store(target, self.store_dir):
                break
            link = self.below_root(target)
        return link

    def below_root(self, target: str) -> str:
        """Return where the absolute target of a symlink lies."""
        if self.reach is not None:
            self.reach(target)
        return f"{self.root}{target}"

    def link_directory(self, content: str, path: str, directory: str) -> None:
        """Add links to the files of `directory`, which `content` has at `path`."""
        # The directories from `path` down to the one that is being linked: the entries that are yet
        # to come in each.
        pending = [self.entries(path, self.underlay.real_directory(path), directory)]
        while pending:
            for place, entry in pending[-1]:
                real_path = self.underlay.real_child(place.real_parent, entry.name) or place.real
                if entry.is_dir(follow_symlinks=False):
                    self.make_directory(content, real_path)
                    pending.append(self.entries(place.path, real_path, entry.path))
                    break
                if directory_to_merge := self._directory_to_merge(real_path, entry):
                    pending.append(self.entries(place.path, real_path, directory_to_merge))
                    break
                self._link_file(content, place, entry)
            else:
                pending.pop()

    @staticmethod
    def entries(
        path: str, real_path: str, directory: str
    ) -> Iterator[tuple[Place, os.DirEntry[str]]]:
        """Return the entries of `directory`, which is at `path`, by name, with their places."""
        with os.scandir(directory) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        return iter([(Place(path, real_path, entry.name), entry) for entry in entries])

    def _directory_to_merge(self, real_path: str, entry: os.DirEntry[str]) -> str | None:
        """Return the directory that a symlink leads to if the tree or base has one there, too.

        One of the two would hide the other if the symlink were kept.
        """
        if not entry.is_symlink():
            return None
        target = self.directory / real_path
        is_in_tree = target.is_dir() and not target.is_symlink()
        if not is_in_tree and not self.underlay.has_directory(real_path):
            return None
        relative = entry.path if entry.is_dir() else None
        directory = self.linked_directory(Path(entry.path)) or relative
        return None if directory is None or self.leads_out(entry.path, directory) else directory

    def _link_file(self, content: str, place: Place, entry: os.DirEntry[str]) -> None:
        path, real_path = place.path, place.real
        target = self.directory / real_path
        link = f"{content}/{path}"
        if entry.is_symlink():
            link = kept_link(entry.path, path) or link
        # A file without an origin is the base image's: the content's file replaces it.
        if real_path not in self.origins and (target.is_symlink() or target.is_file()):
            target.unlink()
        if not os.path.lexists(target):
            self.make_parents(content, real_path)
            self.origins[real_path] = content
            target.symlink_to(link)
        elif not target.is_symlink():
            raise self.conflict(real_path, content, is_directory=False)
        elif not self._is_same_file(os.readlink(target), link):
            log.warning(
                "/%s is in two contents: %s is used, %s is not",
                real_path,
                f"{self.origins[real_path]}/{real_path}",
                f"{content}/{path}",
            )

    def _is_same_file(self, target: str, other_target: str) -> bool:
        """Tell whether symlinks to the two targets lead to files with the same bytes and mode."""
        if target == other_target:
            return True
        if not (target.startswith("/") and other_target.startswith("/")):
            return False
        file, other_file = Path(self.below_root(target)), Path(self.below_root(other_target))
        return (
            file.is_file()
            and other_file.is_file()
            and stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(other_file.stat().st_mode)
            and filecmp.cmp(file, other_file, shallow=False)
        )


def link_contents(
    contents: Sequence[str],
    into: Path,
    root: str = "",
    underlay: Underlay | None = None,
    store_dir: str = STORE_DIR,
) -> None:
    """Join the trees `contents`, of a store below `root`, in the directory `into`.

    See `link_into`.
    """
    link_into(JoinedTree(into, root, underlay or Underlay(), store_dir), contents)


def link_into(tree: JoinedTree, contents: Sequence[str]) -> None:
    """Join the trees `contents` in `tree`.

    Directories become directories, and files become symlinks to the files. Symlinks are copied
    unless they lead out of their tree. If two contents have different files at the same path, use
    the first one and log a warning; raise SpecError if one has a file and the other a directory.
    Where the base image in `underlay` has a symlink to a directory, files go into that directory.
    """
    tree.directory.chmod(0o755)
    for content in tree.content_directories(contents):
        with read_errors(content):
            tree.link_directory(content, "", tree.source(content))
