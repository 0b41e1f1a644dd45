"""Where file systems are mounted: such a directory can't be renamed, nor replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock.system.presence import is_directory, is_link

__all__ = ["is_mount_point", "mount_points"]

# In mountinfo, spaces and other characters are written as octal numbers.
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")


def mount_points() -> Iterator[bytes]:
    """Give the paths of all mounts that this process sees; raise OSError if /proc lacks them."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        yield _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4])


def is_mount_point(directory: Path) -> bool:
    """Tell whether something is mounted at a directory, not at the target of a symlink."""
    if is_link(directory) or not is_directory(directory):
        return False
    if os.path.ismount(directory):
        return True
    # A part of the same file system, such as a volume of a container, is only listed.
    with suppress(OSError):
        return os.fsencode(directory.resolve()) in mount_points()
    return False
