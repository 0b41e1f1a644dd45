"""Running other programs, with a line in the log for each."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from nixdock.errors import ToolError
from nixdock.system import supervise

__all__ = ["CommandResult", "become_command", "run_command"]

log = logging.getLogger(__name__)

_MOST_SECONDS_TO_END: Final = 10


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit status of a command and its output, which is empty if it was not captured.

    The status is negative if a signal ended the command.
    """

    status: int
    output: bytes
    error_output: bytes

    def reason(self) -> str:
        """Return the whole error output, or the exit status if there is none."""
        text = self.error_output.decode("utf-8", "backslashreplace").strip()
        return text or f"exit status {self.status}"


def run_command(
    argv: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    standard_input: bytes | None = None,
    output_to_stderr: bool = False,
    umask: int = -1,
    timeout: float | None = None,
    supervised: bool = False,
) -> CommandResult:
    """Run a command and return its result, also if it fails.

    Its standard input is `standard_input`, or empty. Capture its output or, with
    `output_to_stderr`, send it to standard error. Log the command line at debug level, but not the
    environment, the input or the output, which may contain secrets. With `supervised`, no
    process that the command starts outlives it or this process, and the status is 128 + N if signal
    N ended it. Raise ToolError if the program can't be started or takes longer than `timeout`
    seconds.
    """
    name = Path(argv[0]).name
    log.debug("run: %s", shlex.join(argv))
    supervisor = [sys.executable, "-I", "-S", supervise.__file__, str(os.getpid())]
    try:
        process = _run(
            [*supervisor, *argv] if supervised else argv,
            timeout,
            standard_input,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
            stdout=2 if output_to_stderr else subprocess.PIPE,
            stderr=None if output_to_stderr else subprocess.PIPE,
            umask=umask,
            # A terminal sends its signals to this process, which ends the supervisor.
            process_group=0 if supervised else None,
        )
    except subprocess.TimeoutExpired:
        command = " ".join([name, *argv[1:2]])
        raise ToolError(f"{command} took longer than {timeout} seconds", path=argv[0]) from None
    except OSError as error:
        if directory is not None and not directory.is_dir():
            message = f"{name} can't be started in {directory}, which is not a directory"
        elif isinstance(error, FileNotFoundError) and "/" not in argv[0]:
            message = f"{name} is not in PATH: install it, or add it to PATH"
        else:
            message = f"{name} can't be started: {error.strerror}"
        raise ToolError(message, path=argv[0]) from None
    log.debug("%s ended with exit status %d", name, process.returncode)
    return CommandResult(process.returncode, process.stdout or b"", process.stderr or b"")


def become_command(argv: Sequence[str]) -> NoReturn:
    """Let this process become a command, which has its terminal, its input and its outputs.

    Raise ToolError if the program can't be started.
    """
    log.debug("run: %s", shlex.join(argv))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        name = Path(argv[0]).name
        raise ToolError(f"{name} can't be started: {error.strerror}", path=argv[0]) from None


def _run(
    argv: Sequence[str], timeout: float | None, standard_input: bytes | None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as subprocess.run does, but ask it to end before it is killed."""
    with subprocess.Popen(argv, **options) as process:
        try:
            output, error_output = process.communicate(standard_input, timeout=timeout)
        except BaseException:
            process.terminate()
            try:
                process.wait(_MOST_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        return subprocess.CompletedProcess(argv, process.returncode, output, error_output)
