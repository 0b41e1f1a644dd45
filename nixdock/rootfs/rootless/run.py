"""Running a script under fakeroot, in a directory or with the directory as its `/`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.rootless.chroot import Mounts, mounts_for, shell_inside
from nixdock.rootfs.rootless.enter import INSIDE
from nixdock.rootfs.rootless.fakeroot import (
    FakeFile,
    Inode,
    fakeroot_program,
    format_state,
    parse_state,
    state_of_tree,
)
from nixdock.rootfs.rootless.script_root import (
    BUILD_DIRECTORY,
    inner_environment,
    inner_shell,
    read_only_stores,
    script_root,
)
from nixdock.rootfs.rootless.start import Job, confined_if_required, run_job
from nixdock.rootfs.shell_code import BUILDER_SETUP, RUN_SCRIPT, as_a_child
from nixdock.rootfs.store_view import StoreView
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import writing

__all__ = ["run_as_root"]

# The builder's programs come first: unlike those of many images, they can load fakeroot's library.
_IMAGE_PATH: Final = """
PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
"""


def run_as_root(
    script: str,
    tree: Path,
    *,
    name: str,
    chroot: bool,
    store_dir: str,
    fakes: Mapping[Inode, FakeFile],
    confinement: Confinement = Confinement.REQUIRED,
    view: StoreView | None = None,
) -> dict[Inode, FakeFile]:
    """Run `script` in `tree` under fakeroot; with `chroot`, `tree` is its `/`.

    With a `view`, it finds the store that this says, if it is confined.
    `fakes` is fakeroot's state before the script; return that of the tree after it. `name` is the
    script's key in the spec. Raise ScriptError if the script can't be run or confined, or fails,
    and ToolError if fakeroot is not installed.
    """
    tree = tree.resolve()

    def run(confined: bool) -> dict[Inode, FakeFile]:
        with temporary_directory() as temporary, ExitStack() as stack:
            work = temporary.resolve() / "work"
            work.mkdir()
            with writing(work):
                (work / "script").write_text(script, encoding="utf-8")
                (work / "before").write_text(format_state(fakes.items()), encoding="ascii")
            if chroot:
                mounts = stack.enter_context(
                    mounts_for(name, tree, store_dir, work, view, confined=confined)
                )
                job = _in_own_root(name, tree, mounts, confined=confined)
            elif confined:
                mounts = script_root(name, tree, store_dir, view, work=work, space=work.parent)
                if view is not None:
                    stack.callback(view.note_use)
                job = _in_directory(name, mounts)
            else:
                if view is not None:
                    view.check_unconfined(name, script)
                shell = shutil.which("bash") or shutil.which("sh") or "/bin/sh"
                program = [shell, "-c", BUILDER_SETUP + RUN_SCRIPT, name, f"{work}/script"]
                stores = read_only_stores(store_dir)
                job = Job(name, program, root=None, mounts=stores, confined=False)
            fakeroot = [
                fakeroot_program(os.environ),
                *("-i", str(work / "before"), "-s", str(work / "after"), "--"),
            ]
            run_job(job, work, tree, fakeroot=fakeroot)
            return parse_state((work / "after").read_text(encoding="ascii"))

    return state_of_tree(confined_if_required(confinement, run), tree)


def _in_own_root(name: str, tree: Path, mounts: Mounts, *, confined: bool) -> Job:
    environment = None
    prelude = BUILDER_SETUP + _IMAGE_PATH + RUN_SCRIPT
    if confined:
        environment = inner_environment(mounts.store_dir, os.environ, own_root=True)
        prelude = _IMAGE_PATH + RUN_SCRIPT
    shell = shell_inside(name, tree, mounts.store_dir, os.environ.get("PATH"))
    return Job(
        script=name,
        program=[shell, "-c", prelude, name, f"{INSIDE}/script"],
        root=tree,
        mounts=mounts.mounts,
        environment=environment,
        confined=confined,
        needs_namespaces=True,
    )


def _in_directory(name: str, mounts: Mounts) -> Job:
    environment = inner_environment(mounts.store_dir, os.environ, own_root=False)
    shell = inner_shell(name, environment)
    return Job(
        script=name,
        program=as_a_child(shell, name, f"{INSIDE}/script"),
        root=mounts.root,
        mounts=mounts.mounts,
        directory=BUILD_DIRECTORY,
        environment=environment,
        read_only_root=True,
    )
