"""Running the extra_commands of a spec in a directory, as a user without rights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.rootless.enter import INSIDE
from nixdock.rootfs.rootless.script_root import (
    BUILD_DIRECTORY,
    USER,
    inner_environment,
    inner_shell,
    script_root,
)
from nixdock.rootfs.rootless.start import Job, confined_if_required, run_job
from nixdock.rootfs.shell_code import BUILDER_SETUP, RUN_SCRIPT, as_a_child
from nixdock.rootfs.store_view import StoreView
from nixdock.system.commands import run_command
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import writing

__all__ = ["run_script"]

_NAME: Final = "extra_commands"
_FILE: Final = "extra-commands"


def run_script(
    script: str,
    directory: Path,
    *,
    store_dir: str = "/nix/store",
    confinement: Confinement = Confinement.REQUIRED,
    view: StoreView | None = None,
) -> None:
    """Run `script`, the spec's extra_commands, with bash or sh in `directory`.

    With a `view`, it finds the store that this says, if it is confined.
    Raise ScriptError if the script fails or can't be confined, or if there is no shell.
    """

    def run(confined: bool) -> None:
        with temporary_directory() as temporary:
            work = temporary.resolve() / "work"
            work.mkdir()
            with writing(work / _FILE):
                (work / _FILE).write_text(script, encoding="utf-8")
            if confined:
                _run_confined(directory, store_dir, view, work)
            else:
                if view is not None:
                    view.check_unconfined(_NAME, script)
                _run(directory, work / _FILE)

    confined_if_required(confinement, run)


def _run_confined(directory: Path, store_dir: str, view: StoreView | None, work: Path) -> None:
    environment = inner_environment(store_dir, os.environ, own_root=False)
    shell = inner_shell(_NAME, environment)
    mounts = script_root(_NAME, directory.resolve(), store_dir, view, work=work, space=work.parent)
    job = Job(
        script=_NAME,
        program=as_a_child(shell, _NAME, f"{INSIDE}/{_FILE}"),
        root=mounts.root,
        mounts=mounts.mounts,
        directory=BUILD_DIRECTORY,
        environment=environment,
        user=USER,
        read_only_root=True,
    )
    try:
        run_job(job, work, directory)
    finally:
        if view is not None:
            view.note_use()


def _run(directory: Path, file: Path) -> None:
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        raise ScriptError(
            f"{_NAME} needs a shell, but neither bash nor sh is in PATH; install one, or add"
            " it to PATH",
            key=_NAME,
        )
    # nixdock may be writing the image to standard output: keep the script's output out of it.
    result = run_command(
        [shell, "-c", BUILDER_SETUP + RUN_SCRIPT, _NAME, str(file)],
        directory=directory,
        output_to_stderr=True,
        umask=0o022,
        supervised=True,
    )
    if result.status:
        raise ScriptError(f"{_NAME} failed with exit status {result.status}", key=_NAME)
