"""The container runtimes of this machine, as far as images go: Docker, Podman and containerd."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from nixdock.errors import InputError, ToolError
from nixdock.oci.reference import Reference
from nixdock.system.commands import run_command

__all__ = ["RUNTIMES", "Runtime", "find_runtime"]

RUNTIMES: Final = ("docker", "podman", "containerd")
"""The names of runtimes; the first two are looked for if none is named."""

_PROGRAMS: Final = {"docker": "docker", "podman": "podman", "containerd": "ctr"}
# A daemon that is asleep, or on another machine, takes its time.
_ANSWER_SECONDS: Final = 10


class Runtime(Protocol):
    """What has images and runs them; methods raise ToolError with what the program says."""

    @property
    def name(self) -> str:
        """One of RUNTIMES."""

    def pull(self, reference: str) -> None:
        """Fetch an image from a registry of this machine, which has no HTTPS."""

    def tag(self, reference: str, name: Reference) -> None:
        """Give an image another name, which may have been that of another image."""

    def remove(self, reference: str) -> None:
        """Remove a name, and the image if it has no other one."""

    def load(self, archive: Path) -> None:
        """Load the image in a docker-archive, with its names."""

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """Return the command line that runs a container and removes it in the end."""


@dataclass(frozen=True, slots=True)
class _DockerLike:
    name: str
    program: str
    pull_options: tuple[str, ...] = ()

    def pull(self, reference: str) -> None:
        _call(self.program, "pull", "--quiet", *self.pull_options, reference)

    def tag(self, reference: str, name: Reference) -> None:
        _call(self.program, "tag", reference, str(name))

    def remove(self, reference: str) -> None:
        _call(self.program, "rmi", reference)

    def load(self, archive: Path) -> None:
        _call(self.program, "load", "--quiet", "--input", str(archive))

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        own = ["--rm", "--interactive", *(["--tty"] if terminal else []), "--pull=never"]
        return [self.program, "run", *own, *options, str(name), *arguments]


@dataclass(frozen=True, slots=True)
class _Containerd:
    """Containerd by its own program; CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE say which."""

    name: str
    program: str

    def pull(self, reference: str) -> None:
        _call(self.program, "images", "pull", "--plain-http", reference)

    def tag(self, reference: str, name: Reference) -> None:
        _call(self.program, "images", "tag", "--force", reference, name.canonical)

    def remove(self, reference: str) -> None:
        _call(self.program, "images", "rm", reference)

    def load(self, archive: Path) -> None:
        _call(self.program, "images", "import", str(archive))

    def run_line(
        self, name: Reference, arguments: Sequence[str], options: Sequence[str], *, terminal: bool
    ) -> list[str]:
        own = ["--rm", *(["--tty"] if terminal else [])]
        container = f"nixdock-{secrets.token_hex(6)}"
        return [self.program, "run", *own, *options, name.canonical, container, *arguments]


def find_runtime(name: str | None = None) -> Runtime:
    """Return the runtime with that name, or the one of Docker and Podman that answers.

    Raise ToolError if none answers, and InputError if `name` is not one of RUNTIMES.
    """
    if name is not None:
        if name not in _PROGRAMS:
            raise InputError(f"{name!r} is not a runtime; known are {', '.join(RUNTIMES)}")
        return _opened(name)
    problems = []
    for each in ("docker", "podman"):
        try:
            return _opened(each)
        except ToolError as error:
            problems.append(str(error))
    raise ToolError(
        f"there is no runtime to load the image into: {'; '.join(problems)}; start Docker or"
        " install Podman, or use containerd with --into containerd"
    )


def _opened(name: str) -> Runtime:
    program = shutil.which(_PROGRAMS[name])
    if program is None:
        raise ToolError(f"{_PROGRAMS[name]} is not in PATH", path=_PROGRAMS[name])
    said = _call(program, "version", timeout=_ANSWER_SECONDS)
    if name == "containerd":
        return _Containerd(name, program)
    # Distributions have Podman as the program docker, too.
    if "Podman" in said or name == "podman":
        return _DockerLike("podman", program, ("--tls-verify=false",))
    return _DockerLike(name, program)


def _call(program: str, *arguments: str, timeout: float | None = None) -> str:
    """Run a subcommand and return its output; raise ToolError if it fails."""
    result = run_command([program, *arguments], timeout=timeout)
    if result.status:
        raise ToolError(
            f"{Path(program).name} {arguments[0]} failed: {result.reason()}", path=program
        )
    return result.output.decode("utf-8", "replace")
