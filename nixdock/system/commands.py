"""Running other programs, with a line in the log for each."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NoReturn, cast

from msgspec import Struct

from nixdock.errors import ToolError
from nixdock.system import supervise
from nixdock.system.buffers import Write
from nixdock.system.presence import is_directory
from nixdock.system.termination import termination_held

__all__ = ["CommandResult", "become_command", "feed_command", "run_command"]

log = logging.getLogger(__name__)

_MOST_SECONDS_TO_END: Final = 10


class CommandResult(Struct, frozen=True):
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


def run_command(  # noqa: PLR0913 (each is about the process)
    argv: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    standard_input: bytes | None = None,
    output_to_stderr: bool = False,
    umask: int = -1,
    timeout: float | None = None,
    supervised: bool = False,
    abandon: Callable[[], object] | None = None,
) -> CommandResult:
    """Run a command and return its result, also if it fails.

    Its standard input is `standard_input`, or empty. Capture its output or, with
    `output_to_stderr`, send it to standard error. Log the command line at debug level, but not the
    environment, the input or the output, which may contain secrets. With `supervised`, no
    process that the command starts outlives it or this process, and the status is 128 + N if signal
    N ended it. With `abandon`, a command that is interrupted may end by itself, and so clean up:
    the signals of a terminal do not reach it, `abandon` is called, which makes its work fail, and
    only if it goes on for ten seconds is it asked to end. Raise ToolError if the program can't be
    started or takes longer than `timeout` seconds, or if nobody could learn how it ends.
    """
    name = Path(argv[0]).name
    _check_results_are_kept(argv[0])
    log.debug("run: %s", shlex.join(argv))
    supervisor = [sys.executable, "-I", "-S", supervise.__file__, str(os.getpid())]
    try:
        process = _run(
            [*supervisor, *argv] if supervised else argv,
            timeout,
            standard_input,
            abandon,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
            stdout=2 if output_to_stderr else subprocess.PIPE,
            stderr=None if output_to_stderr else subprocess.PIPE,
            umask=umask,
            # A terminal sends its signals to this process, which ends the supervisor.
            process_group=None if abandon is None and not supervised else 0,
        )
    except subprocess.TimeoutExpired:
        command = " ".join([name, *argv[1:2]])
        raise ToolError(f"{command} took longer than {timeout} seconds", path=argv[0]) from None
    except OSError as error:
        raise _not_started(argv[0], error, directory) from None
    log.debug("%s ended with exit status %d", name, process.returncode)
    return CommandResult(process.returncode, process.stdout or b"", process.stderr or b"")


def feed_command(
    argv: Sequence[str],
    write_input: Callable[[Write], object],
    *,
    environment: Mapping[str, str] | None = None,
    spoil: bytes = b"",
) -> CommandResult:
    """Run a command whose standard input `write_input` writes, and return its result.

    `write_input` gets a function that writes bytes and waits until they are taken; it is cut short
    if the command ends before. Whatever it raises otherwise ends the command. With `spoil`, bytes
    after which the command refuses its input, it may end by itself then, and so clean up: as with
    the `abandon` of `run_command`. Raise ToolError if the program can't be started, or if nobody
    could learn how it ends.
    """
    _check_results_are_kept(argv[0])
    log.debug("run: %s", shlex.join(argv))
    with ExitStack() as held:
        held.enter_context(termination_held())
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0 if spoil else None,
            )
        except OSError as error:
            raise _not_started(argv[0], error) from None
        result = _fed(process, write_input, spoil, held.close)
    log.debug("%s ended with exit status %d", Path(argv[0]).name, result.status)
    return result


def _fed(
    process: subprocess.Popen[bytes],
    write_input: Callable[[Write], object],
    spoil: bytes,
    release: Callable[[], object],
) -> CommandResult:
    """Feed a process that has been started; after `release`, signals may interrupt that."""
    stdin, process.stdin = cast("IO[bytes]", process.stdin), None
    outputs: list[tuple[bytes, bytes]] = []
    reader = threading.Thread(target=lambda: outputs.append(process.communicate()), daemon=True)
    reader.start()
    try:
        release()
        with suppress(BrokenPipeError):
            write_input(partial(_write_all, stdin.fileno()))
        stdin.close()
        reader.join()
    except BaseException:
        try:
            if spoil:
                _spoil(stdin, spoil)
                reader.join(_MOST_SECONDS_TO_END)
        finally:
            # Before it takes the end of its input for the end of the data.
            _end(process)
        raise
    finally:
        stdin.close()
        reader.join()
    return CommandResult(process.returncode, *outputs[0])


def _write_all(descriptor: int, data: memoryview | bytes) -> None:
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(descriptor, left) :]


def _check_results_are_kept(program: str) -> None:
    """Raise ToolError if the system forgets how programs end: Python takes each for a success."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise ToolError(
            f"{Path(program).name} is not started, because nobody could learn whether it fails:"
            " this process ignores SIGCHLD; set that signal to SIG_DFL",
            path=program,
        )


def _not_started(program: str, error: OSError, directory: Path | None = None) -> ToolError:
    name = Path(program).name
    if directory is not None and not is_directory(directory):
        message = f"{name} can't be started in {directory}, which is not a directory"
    elif isinstance(error, FileNotFoundError) and "/" not in program:
        message = f"{name} is not in PATH: install it, or add it to PATH"
    else:
        message = f"{name} can't be started: {error.strerror}"
    return ToolError(message, path=program)


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
    argv: Sequence[str],
    timeout: float | None,
    standard_input: bytes | None,
    abandon: Callable[[], object] | None,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as subprocess.run does, but ask it to end before it is killed."""
    with ExitStack() as held:
        # Interrupted while it starts, the command would go on, and nobody would read its output.
        held.enter_context(termination_held())
        with subprocess.Popen(argv, **options) as process:
            try:
                held.close()
                output, error_output = process.communicate(standard_input, timeout=timeout)
            except BaseException:
                try:
                    if abandon is not None:
                        abandon()
                        with suppress(subprocess.TimeoutExpired):
                            # It must not wait for somebody to read its output.
                            process.communicate(timeout=_MOST_SECONDS_TO_END)
                finally:
                    _end(process)
                raise
            return subprocess.CompletedProcess(argv, process.returncode, output, error_output)


def _spoil(stdin: IO[bytes], data: bytes) -> None:
    """Write what the reader refuses, unless it is far behind or has all, and then the end."""
    if not stdin.closed:
        os.set_blocking(stdin.fileno(), False)
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(stdin.fileno(), data)
        stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_MOST_SECONDS_TO_END)
    finally:
        # This does nothing to a process that has ended.
        process.kill()
