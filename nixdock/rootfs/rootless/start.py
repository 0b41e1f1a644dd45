"""Starting the program of a job in namespaces of its own, confined or not."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from nixdock.errors import ScriptError
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.rootless.chroot import Mount
from nixdock.rootfs.rootless.failure import read_failure
from nixdock.system.commands import run_command
from nixdock.system.writers import writing

__all__ = ["Job", "confined_if_required", "run_job"]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Python starts isolated from the user's settings (-I), with the module search path of this process,
# which is the program's last argument.
_START: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from nixdock.rootfs.rootless.{module} import main
sys.exit(main({arguments}))
"""

_REMEDY: Final = (
    "scripts run only where they can be confined, unless --allow-unconfined-scripts gives them all"
    " of your rights"
)


class _RefusedError(ScriptError):
    """The system does not allow what confines a script, which was not started."""

    def __init__(self, message: str, *, key: str, runs_unconfined: bool) -> None:
        super().__init__(message, key=key)
        self.runs_unconfined = runs_unconfined


class Job(Struct, frozen=True):
    """A program of a script, whose key in the spec is `script`.

    `root` is its `/` with the `mounts`, or None if it keeps that of this process. `user` are its
    user and group. `directory` is where it starts, `environment` is None for that of this process.
    `needs_namespaces` tells whether it can't run without namespaces at all.
    """

    script: str
    program: Sequence[str]
    root: Path | None
    mounts: Sequence[Mount] = ()
    directory: str = "/"
    environment: dict[str, str] | None = None
    user: tuple[int, int] = (0, 0)
    confined: bool = True
    read_only_root: bool = False
    needs_namespaces: bool = False


def run_job(job: Job, work: Path, directory: Path, *, fakeroot: Sequence[str] = ()) -> None:
    """Run a job; `work` is a directory for its files, and `directory` where it starts outside.

    `fakeroot` is the start of a command line that runs another one under fakeroot. Raise
    ScriptError if the program can't be started or fails.
    """
    error, file = work / "error", work / "job.json"
    error.unlink(missing_ok=True)
    document = {
        "root": None if job.root is None else str(job.root),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "user": job.user,
        "mounts": [(m.source, m.target, m.recursive, m.read_only) for m in job.mounts],
        "directory": job.directory,
        "program": list(job.program),
        "environment": job.environment,
        "confined": job.confined,
        "read_only_root": job.read_only_root,
        "error": str(error),
    }
    # Not orjson, which refuses paths that are not UTF-8.
    with writing(file):
        file.write_text(json.dumps(document), encoding="ascii")
    command = [*fakeroot, *_python("enter", "sys.argv[1]", str(file))]
    if job.confined:
        command = _python("isolate", "sys.argv[1], sys.argv[2:]", str(error), *command)
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
    if (failure := read_failure(error)) is not None:
        message = f"{job.script}: {failure}"
        if not (failure.refused and job.confined):
            raise ScriptError(message, key=job.script)
        # A script with a root of its own needs a user namespace even if it is not confined.
        raise _RefusedError(
            message,
            key=job.script,
            runs_unconfined=not (failure.without_namespaces and job.needs_namespaces),
        )
    if result.status:
        raise ScriptError(f"{job.script} failed with exit status {result.status}", key=job.script)


def _python(module: str, arguments: str, *argv: str) -> list[str]:
    program = _START.format(module=module, arguments=arguments)
    # It takes file names from this process, whatever the locale.
    mode = ["-X", "utf8"] if sys.getfilesystemencoding() == "utf-8" else []
    return [sys.executable, *mode, "-I", "-c", program, *argv, json.dumps(sys.path)]


def confined_if_required(confinement: Confinement, run: Callable[[bool], _Result]) -> _Result:
    """Run a script with `run`, which is told whether to confine it, and return the result.

    Raise ScriptError if the script must be confined, but the system does not allow it.
    """
    if confinement is Confinement.NIX_BUILD:
        return run(False)
    try:
        return run(True)
    except _RefusedError as error:
        if not error.runs_unconfined:
            raise
        if confinement is Confinement.REQUIRED:
            raise ScriptError(f"{error}; {_REMEDY}", key=error.key) from None
        log.warning("%s; the script runs unconfined, with all of your rights", error)
        return run(False)
