"""A directory as the root of a script: what is mounted there, and what is there afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError
from nixdock.rootfs.rootless.enter import INSIDE

__all__ = ["Mount", "Mounts", "mounts_for", "shell_inside"]

_SYSTEM: Final = ("dev", "proc", "sys")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of this machine that is seen at `target`, absolute, in the root."""

    source: str
    target: str
    recursive: bool = True


@dataclass(slots=True)
class Mounts:
    """What is mounted in a root, and the mount points that were made for it."""

    root: Path
    store_dir: str
    mounts: list[Mount] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)

    def add(self, source: str, target: str, *, recursive: bool = True) -> None:
        """Mount `source`; make the mount point, where there is none."""
        if not os.path.lexists(source):
            return
        point = self._directory(target if Path(source).is_dir() else os.path.dirname(target))  # noqa: PTH120
        if not Path(source).is_dir():
            point = point / os.path.basename(target)  # noqa: PTH119
            if os.path.lexists(point):
                return
            point.touch()
            self.made.append(point)
        self.mounts.append(Mount(source, target, recursive))

    def _directory(self, target: str) -> Path:
        """Return the directory at `target`; a link on the way could lead out of the root."""
        at = self.root
        for part in target.strip("/").split("/"):
            at = at / part
            if at.is_symlink() or (at.exists() and not at.is_dir()):
                raise ScriptError(
                    f"the image has something else than a directory at {target}, where the script"
                    " needs one of the machine"
                )
            if not at.exists():
                at.mkdir()
                at.chmod(0o755)
                self.made.append(at)
        return at

    def add_store(self) -> None:
        """Mount this machine's store, path by path where the image has store paths of its own."""
        if not Path(self.store_dir).is_dir():
            return
        here = Path(f"{self.root}{self.store_dir}")
        if not (here.is_dir() and any(here.iterdir())):
            self.add(self.store_dir, self.store_dir)
            return
        for path in sorted(os.listdir(self.store_dir)):
            if not os.path.lexists(here / path) and not path.startswith("."):
                source = Path(self.store_dir, path)
                if source.is_symlink():
                    link = here / path
                    link.symlink_to(os.readlink(source))
                    self.made.append(link)
                else:
                    self.add(str(source), f"{self.store_dir}/{path}")

    def remove_points(self) -> None:
        """Remove the mount points that were made, but for directories that hold something now."""
        for point in reversed(self.made):
            if point.is_symlink() or not point.is_dir():
                point.unlink(missing_ok=True)
            elif point.exists() and not any(point.iterdir()):
                point.rmdir()


@contextmanager
def mounts_for(root: Path, store_dir: str, work: Path) -> Iterator[Mounts]:
    """Give the mounts of a script that runs in `root`, and remove their mount points afterwards.

    `work` is seen as `INSIDE`, and the directory of a Nix build at its own place.
    """
    mounts = Mounts(root, store_dir)
    try:
        for name in _SYSTEM:
            mounts.add(f"/{name}", f"/{name}")
        mounts.add_store()
        if top := os.environ.get("NIX_BUILD_TOP"):
            # What is mounted below is not wanted: the root itself lies there.
            mounts.add(top, top, recursive=False)
        mounts.add(str(work), INSIDE, recursive=False)
        yield mounts
    finally:
        mounts.remove_points()


def shell_inside(root: Path, store_dir: str, path: str | None) -> str:
    """Return the shell that a script in `root` runs with; raise ScriptError if there is none."""
    for name in ("bash", "sh"):
        found = shutil.which(name, path=path)
        real = os.path.realpath(found) if found else ""
        if real.startswith(f"{store_dir}/"):
            return real
    for inside in ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"):
        if os.path.lexists(f"{root}{inside}"):
            return inside
    raise ScriptError(
        f"the script needs a shell, but there is none in the image, nor one of {store_dir} in PATH"
    )
