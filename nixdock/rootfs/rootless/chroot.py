"""The root directory of a script: its mounts, their mount points, and its shell."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from nixdock.errors import ScriptError
from nixdock.rootfs.obstacles import find_obstacle, make_directory, parent_within
from nixdock.rootfs.rootless.enter import INSIDE
from nixdock.rootfs.store_view import StoreView

__all__ = ["Mount", "Mounts", "mounts_for", "shell_inside"]

_SYSTEM_DIRECTORIES: Final = ("/dev", "/proc", "/sys")


class Mount(Struct, frozen=True):
    """A bind mount of the host's file or directory `source` at the absolute path `target`.

    With `recursive`, the mounts below `source` are mounted, too. A script can't write to what is
    `read_only`.
    """

    source: str
    target: str
    recursive: bool = True
    read_only: bool = False


class Mounts(Struct):
    """The mounts in the root directory of a script, and the mount points that were created for it.

    `script` is the script's key in the spec. With a `view`, the store is what that says.
    """

    script: str
    root: Path
    store_dir: str
    view: StoreView | None = None
    mounts: list[Mount] = field(default_factory=list)
    mount_points: list[Path] = field(default_factory=list)

    def add(
        self, source: str, target: str, *, recursive: bool = True, read_only: bool = False
    ) -> None:
        """Mount `source` at `target`, and create the mount point if it does not exist.

        Nothing is mounted if `source` does not exist, or if it is a file and `target` exists.
        Raise ScriptError if a part of the mount point's path is a symlink or a file in the image.
        """
        if not os.path.lexists(source):
            return
        if Path(source).is_dir():
            self.make_directory(target)
        else:
            directory, name = os.path.split(target)
            mount_point = self.make_directory(directory) / name
            if os.path.lexists(mount_point):
                return
            mount_point.touch()
            self.mount_points.append(mount_point)
        self.mounts.append(Mount(source, target, recursive, read_only))

    def make_directory(self, target: str) -> Path:
        """Return the directory `target` in the root; create it if it does not exist."""
        obstacle = find_obstacle(self.root, target)
        if obstacle is not None:
            path = f"/{obstacle.relative_to(self.root)}"
            raise ScriptError(
                f"{self.script} needs {target} of this machine, but {path} in the image is not a"
                " directory; remove it from the image",
                key=self.script,
                path=path,
            )
        directory = self.root
        for part in target.strip("/").split("/"):
            directory = directory / part
            if not directory.exists():
                make_directory(directory)
                self.mount_points.append(directory)
        return directory

    def add_store(self) -> None:
        """Mount this machine's store; path by path if the root has other paths in its store."""
        store, own_store = Path(self.store_dir), Path(f"{self.root}{self.store_dir}")
        has_own = own_store.is_dir() and any(own_store.iterdir())
        if self.view is not None:
            for path, file in sorted(self.view.present.items()):
                self._add_store_path(Path(file), Path(f"{self.root}{path}"))
            self.mount_points += self.view.lay_out(self.make_directory(self.store_dir))
        elif not has_own:
            self.add(self.store_dir, self.store_dir, read_only=True)
        else:
            for name in sorted(os.listdir(store)) if store.is_dir() else []:
                if not name.startswith("."):
                    self._add_store_path(store / name, own_store / name)

    def _add_store_path(self, path: Path, target: Path) -> None:
        """Mount a store path in the root's store, unless that has one of that name."""
        if os.path.lexists(target):
            return
        if path.is_symlink():
            self.make_directory(self.store_dir)
            target.symlink_to(os.readlink(path))
            self.mount_points.append(target)
        else:
            self.add(str(path), f"{self.store_dir}/{target.name}", read_only=True)

    def remove_mount_points(self) -> None:
        """Remove the created mount points, except directories that are no longer empty.

        A script may have moved them, and put something else in their place, such as a symlink out
        of the root: what is not in the root, or has contents, stays.
        """
        for mount_point in reversed(self.mount_points):
            with suppress(OSError), parent_within(self.root, mount_point) as parent:
                _remove_empty(mount_point.name, parent)


@contextmanager
def mounts_for(
    script: str,
    root: Path,
    store_dir: str,
    work: Path,
    view: StoreView | None = None,
    *,
    confined: bool,
) -> Iterator[Mounts]:
    """Yield the mounts for a script in `root`; remove their mount points at the end.

    The directory `work` is mounted at `INSIDE`, and with a `view`, the store is what that says. A
    script that is not `confined` also gets /dev and /sys of this machine and the directory of a Nix
    build, at its own path.
    """
    mounts = Mounts(script, root, store_dir, view)
    try:
        for directory in _SYSTEM_DIRECTORIES:
            if not confined:
                mounts.add(directory, directory)
            elif directory != "/sys":
                # A confined script gets new ones.
                mounts.make_directory(directory)
        mounts.add_store()
        if not confined and (top := os.environ.get("NIX_BUILD_TOP")):
            # Not recursive: `root` is in this directory, and it has mounts by then.
            mounts.add(top, top, recursive=False)
        mounts.add(str(work), INSIDE, recursive=False, read_only=True)
        yield mounts
    finally:
        if view is not None:
            view.note_use()
        mounts.remove_mount_points()


def _remove_empty(name: str, parent: int) -> None:
    """Remove a symlink, an empty file or an empty directory; raise OSError if it is not empty."""
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        os.rmdir(name, dir_fd=parent)
    elif stat.S_ISLNK(info.st_mode) or not info.st_size:
        os.unlink(name, dir_fd=parent)


def shell_inside(script: str, root: Path, store_dir: str, path: str | None) -> str:
    """Return the path in `root` of the shell for a script; raise ScriptError if there is none.

    The first shell in `path`, the host's PATH, that is in the store is used: that is mounted.
    """
    directories = (path or "").split(os.pathsep)
    for name in ("bash", "sh"):
        for directory in filter(None, directories):
            shell = shutil.which(name, path=directory)
            real_path = os.path.realpath(shell) if shell else ""
            if real_path.startswith(f"{store_dir}/"):
                return real_path
    for shell in ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"):
        if os.path.lexists(f"{root}{shell}"):
            return shell
    raise ScriptError(
        f"{script} needs a shell, but there is none in the image, nor one from {store_dir} in PATH;"
        " add one to contents",
        key=script,
    )
