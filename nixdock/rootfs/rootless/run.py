"""Running a script under fakeroot, in a directory or with the directory as its `/`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError
from nixdock.rootfs.rootless.chroot import Mount, mounts_for, shell_inside
from nixdock.rootfs.rootless.enter import INSIDE
from nixdock.rootfs.rootless.fakeroot import (
    FakeFile,
    Inode,
    fakeroot_program,
    format_state,
    parse_state,
)
from nixdock.rootfs.scripts import BUILDER_SETUP, RUN_SCRIPT
from nixdock.system.commands import run_command
from nixdock.system.scratch import temporary_directory

__all__ = ["run_as_root"]

# The builder's programs come first: unlike those of many images, they can load fakeroot's library.
_IMAGE_PATH: Final = """
PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
"""
# Python starts isolated from the user's settings (-I), with the module search path of this process.
_ENTER: Final = """
import sys
sys.path[:] = sys.argv[2:]
from nixdock.rootfs.rootless.enter import main
sys.exit(main(sys.argv[1]))
"""


def run_as_root(
    script: str,
    tree: Path,
    *,
    name: str,
    chroot: bool,
    store_dir: str,
    fakes: Mapping[Inode, FakeFile],
) -> dict[Inode, FakeFile]:
    """Run `script` in `tree` under fakeroot; with `chroot`, `tree` is its `/`.

    `fakes` is fakeroot's state before the script; return the state after it. `name` is the
    script's key in the spec. Raise ScriptError if the script can't be run or fails, and ToolError
    if fakeroot is not installed.
    """
    with temporary_directory() as temporary:
        work = temporary.resolve()
        (work / "script").write_text(script, encoding="utf-8")
        (work / "before").write_text(format_state(fakes.items()), encoding="ascii")
        with ExitStack() as stack:
            mounts: list[Mount] = []
            if chroot:
                mounts = stack.enter_context(
                    mounts_for(name, tree.resolve(), store_dir, work)
                ).mounts
                shell = shell_inside(name, tree, store_dir, os.environ.get("PATH"))
            else:
                shell = shutil.which("bash") or shutil.which("sh") or "/bin/sh"
            prelude = BUILDER_SETUP + (_IMAGE_PATH if chroot else "") + RUN_SCRIPT
            job = {
                "root": str(tree.resolve()) if chroot else None,
                "uid": os.getuid(),
                "gid": os.getgid(),
                "mounts": [(m.source, m.target, m.recursive) for m in mounts],
                "program": [shell, "-c", prelude, name, f"{INSIDE if chroot else work}/script"],
                "error": str(work / "error"),
            }
            # Not orjson, which refuses paths that are not UTF-8.
            (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
            _run(work, tree, name)
            return parse_state((work / "after").read_text(encoding="ascii"))


def _run(work: Path, directory: Path, name: str) -> None:
    command = [
        fakeroot_program(os.environ),
        *("-i", str(work / "before"), "-s", str(work / "after"), "--"),
        *(sys.executable, "-I", "-c", _ENTER, str(work / "job.json"), *sys.path),
    ]
    # nixdock may be writing the image to standard output: keep the script's output out of it.
    # By default, fakeroot also tries to change owners on disk. That would fail for all users but
    # one: a user namespace maps a single user.
    result = run_command(
        command,
        directory=directory,
        environment={**os.environ, "FAKEROOTDONTTRYCHOWN": "1"},
        output_to_stderr=True,
        umask=0o022,
        supervised=True,
    )
    error = work / "error"
    if error.exists() and (reason := error.read_text(encoding="utf-8")):
        raise ScriptError(f"{name}: {reason}", key=name)
    if result.status:
        raise ScriptError(f"{name} failed with exit status {result.status}", key=name)
