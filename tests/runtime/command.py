"""Running other people's programs: find them, call them, start and stop the ones that serve."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

_DEBIAN_PACKAGES = {
    "busybox": "busybox-static",
    "conmon": "conmon",
    "containerd": "containerd",
    "ctr": "containerd",
    "ctr-remote": "stargz-snapshotter",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "podman": "podman",
    "runc": "runc",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "tar-split": "tar-split",
    "umoci": "umoci",
}
_SYSTEM_DIRECTORIES = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
)


class ToolError(AssertionError):
    """A program could not do what a test asked of it."""


def require_tool(name: str) -> str:
    """The absolute path of a program; a machine without it fails the test rather than skips it."""
    search = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_DIRECTORIES])
    found = shutil.which(name, path=search)
    if found is None:
        package = _DEBIAN_PACKAGES.get(name, name)
        pytest.fail(f"{name} is not installed; on Debian: apt-get install {package}", pytrace=False)
    return found


def run_tool(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    check: bool = True,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and capture both outputs, line endings untouched."""
    command = [str(argument) for argument in argv]
    try:
        done = subprocess.run(
            command, env=env, stdin=stdin, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise ToolError(
            f"{shlex.join(command)}\nstill running after {timeout} s\n{_text(expired.stderr)}"
        ) from None
    result = subprocess.CompletedProcess(
        command, done.returncode, _text(done.stdout), _text(done.stderr)
    )
    if check and result.returncode != 0:
        raise ToolError(
            f"{shlex.join(command)}\nexit status {result.returncode}\n"
            f"{result.stdout}{result.stderr}"
        )
    return result


def wait_until(
    condition: Callable[[], bool], *, timeout: float = 10, what: str = "condition"
) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ToolError(f"{what}: not within {timeout} s")
        time.sleep(0.02)


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something accepts connections on that loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Daemon:
    """A server that this test session started, and that dies with it."""

    argv: Sequence[str]
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        argv: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str],
        ready: Callable[[], bool],
        timeout: float = 30,
    ) -> Daemon:
        """Start it and wait until it is ready; a terminal's Ctrl-C does not reach it."""
        command = [str(argument) for argument in argv]
        bound_to_parent = [require_tool("setpriv"), "--pdeathsig", "TERM", *command]
        with log.open("wb") as output:
            process = subprocess.Popen(
                bound_to_parent,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        daemon = cls(command, process, log)
        try:
            wait_until(lambda: daemon._exited() or ready(), timeout=timeout, what=command[0])
        except ToolError as late:
            daemon.stop()
            raise ToolError(f"{late}\n{daemon.log_text()}") from None
        except BaseException:
            daemon.stop()
            raise
        if daemon._exited():
            raise ToolError(
                f"{shlex.join(command)}\nexit status {process.returncode}\n{daemon.log_text()}"
            )
        return daemon

    def stop(self, *, timeout: float = 20) -> None:
        """Ask it to end, and insist after a while."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout)

    def log_text(self) -> str:
        """Everything it has logged so far."""
        return _text(self.log.read_bytes())

    def _exited(self) -> bool:
        return self.process.poll() is not None


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="backslashreplace")
