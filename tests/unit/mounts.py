"""Directories on which something is mounted, for one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["KINDS", "run_with_mount"]

KINDS = ["another file system", "a part of the same one"]
_MOUNTS = {
    KINDS[0]: 'mount -t tmpfs none "$mounted" && cp -a "$volume/." "$mounted"',
    KINDS[1]: 'mount --bind "$volume" "$mounted"',
}
# What is mounted is gone afterwards: `volume` gets what is there.
_SCRIPT = """
mounted=$1 volume=$2 parent=$3
shift 3
mount --bind "$parent" "$parent"
mount -o remount,bind,ro "$parent"
{mount}
"$@" && status=0 || status=$?
if [ "$(stat -c %d "$mounted")" != "$(stat -c %d "$volume")" ]; then
    find "$volume" -mindepth 1 -delete
    cp -a "$mounted/." "$volume"
fi
exit $status
"""


def run_with_mount(
    kind: str, volume: Path, mounted: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run nixdock while what is in `volume` is mounted at the empty directory `mounted`.

    Nothing can be written beside it.
    """
    script = _SCRIPT.format(mount=_MOUNTS[kind])
    command = [*("unshare", "--map-root-user", "--mount", "sh", "-ec", script, "sh")]
    command += [str(mounted), str(volume), str(mounted.parent), sys.executable, "-m", "nixdock"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
