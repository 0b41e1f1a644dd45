"""A private directory and cgroup for one runtime, and their removal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .command import wait_until

_CGROUPS = Path("/sys/fs/cgroup")
_LONGEST_BASE = 40  # leaves room for a socket's path, which the kernel limits to 107 bytes


@dataclass(frozen=True)
class Workspace:
    """Where a runtime keeps everything it writes."""

    root: Path

    @property
    def cgroup(self) -> str:
        """The control group that its containers run in."""
        return f"/{self.root.name}"

    def directory(self, name: str) -> Path:
        """A directory in it, made if need be."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def file(self, name: str, text: str) -> Path:
        """A small text file in it."""
        path = self.root / name
        path.write_text(text)
        return path


@contextmanager
def workspace() -> Iterator[Workspace]:
    """Make one; on leaving, end its containers, unmount what is mounted in it and delete it."""
    base = tempfile.gettempdir()
    root = tempfile.mkdtemp(prefix="nixdock-", dir=base if len(base) <= _LONGEST_BASE else "/tmp")
    space = Workspace(Path(root).resolve())
    try:
        yield space
    finally:
        _remove_cgroups(space.root.name)
        _unmount_below(space.root)
        shutil.rmtree(space.root)


def _remove_cgroups(name: str) -> None:
    for top in [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]:
        for directory, _, _ in os.walk(top, topdown=False):
            members = Path(directory, "cgroup.procs")
            for pid in _members(members):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(partial(_is_empty, members), what=f"{members} to empty")
            with suppress(FileNotFoundError):
                Path(directory).rmdir()


def _is_empty(procs: Path) -> bool:
    return not _members(procs)


def _members(procs: Path) -> list[int]:
    try:
        return [int(pid) for pid in procs.read_text().split()]
    except OSError:
        return []


def _unmount_below(root: Path) -> None:
    mounts = [
        _unescape(line.split(" ")[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(root):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
