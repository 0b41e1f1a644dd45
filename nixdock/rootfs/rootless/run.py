"""Running a script as if by root: in a tree, or with the tree as its root."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
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

__all__ = ["run_as_root"]

# The image's own programs come behind the builder's, which know fakeroot's library.
_IMAGE_PATH: Final = """
PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
"""
# Where Python looks for modules is settled by whoever has started this one.
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

    `fakes` is what files are for it from the start. Return what they are in the end, as far as
    the disk does not say. Raise ScriptError, whose message starts with `name`, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        work = Path(temporary).resolve()
        (work / "script").write_text(script, encoding="utf-8")
        (work / "before").write_text(format_state(fakes.items()), encoding="ascii")
        with ExitStack() as stack:
            mounts: list[Mount] = []
            if chroot:
                mounts = stack.enter_context(mounts_for(tree.resolve(), store_dir, work)).mounts
                shell = shell_inside(tree, store_dir, os.environ.get("PATH"))
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
            (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
            _run(work, tree, name)
            return parse_state((work / "after").read_text(encoding="ascii"))


def _run(work: Path, directory: Path, name: str) -> None:
    command = [
        fakeroot_program(os.environ),
        *("-i", str(work / "before"), "-s", str(work / "after"), "--"),
        *(sys.executable, "-I", "-c", _ENTER, str(work / "job.json"), *sys.path),
    ]
    # Standard output may be the image. The build's user has but one id to give to files.
    result = run_command(
        command,
        directory=directory,
        environment={**os.environ, "FAKEROOTDONTTRYCHOWN": "1"},
        output_to_stderr=True,
        umask=0o022,
    )
    error = work / "error"
    if error.exists() and (reason := error.read_text(encoding="utf-8")):
        raise ScriptError(f"{name}: {reason}", key=name)
    if result.status:
        raise ScriptError(f"{name} failed with exit status {result.status}", key=name)
