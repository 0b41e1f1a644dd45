"""Adding a Nix database to the tree of the top layer, so that scripts find it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from nixdock.errors import PackError
from nixdock.rootfs.obstacles import find_obstacle, make_directory

__all__ = ["add_database"]

# What SQLite keeps beside a database; a new database must not be read with the log of an old one.
_LOGS: Final = ("-wal", "-shm", "-journal")


def add_database(database: Path, store_dir: str, tree: Path) -> list[str]:
    """Copy the files below `database` into `tree`, and make the store directory there.

    Existing directories stay as they are, and files are replaced. Return the paths of all new files
    and directories, relative to `tree`. Raise PackError if a file or symlink is in the place of a
    directory.
    """
    added = _make_directory(tree, store_dir.lstrip("/"))
    for directory, names, files in os.walk(database):
        names.sort()
        relative = os.path.relpath(directory, database)
        if relative != ".":
            added += _make_directory(tree, relative)
        links = [name for name in names if Path(directory, name).is_symlink()]
        for name in sorted(files + links):
            target = tree / relative / name
            if target.is_dir() and not target.is_symlink():
                raise _obstacle(tree, target, "a directory")
            for file in (target, *(target.with_name(name + log) for log in _LOGS)):
                file.unlink(missing_ok=True)
            shutil.copy2(Path(directory, name), target, follow_symlinks=False)
            added.append(str(target.relative_to(tree)))
    return added


def _make_directory(tree: Path, path: str) -> list[str]:
    """Make the directory `path` and its parents, and return the paths of the new ones."""
    obstacle = find_obstacle(tree, path)
    if obstacle is not None:
        raise _obstacle(tree, obstacle, "no directory")
    new = []
    parts = path.split("/")
    for depth in range(len(parts)):
        directory = tree.joinpath(*parts[: depth + 1])
        if not directory.exists():
            make_directory(directory)
            new.append(str(directory.relative_to(tree)))
    return new


def _obstacle(tree: Path, path: Path, what: str) -> PackError:
    name = f"/{path.relative_to(tree)}"
    return PackError(
        f"nix_db: the Nix database can't be added, because {name} is {what}; remove it from the"
        " contents or the base image",
        path=name,
        key="nix_db",
    )
