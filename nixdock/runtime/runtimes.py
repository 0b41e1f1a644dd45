"""The container runtimes that can be found on this machine, and those that they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock.errors import InputError, ToolError
from nixdock.runtime.docker import Docker
from nixdock.runtime.docker_daemon import Daemon, DaemonByProgram
from nixdock.runtime.docker_like import DockerLike
from nixdock.runtime.docker_socket import DaemonBySocket, local_socket
from nixdock.runtime.program import Program, find_program
from nixdock.runtime.runtime import Runtime

__all__ = ["RUNTIMES", "find_runtime"]

# A daemon that is asleep, or on another machine, takes its time.
_ANSWER_SECONDS: Final = 10
_PODMAN: Final = "Podman"


def _docker(program: Program) -> Runtime:
    daemon = _docker_at_socket(program)
    if daemon is not None:
        return Docker(program=program, daemon=daemon)
    from nixdock.runtime.podman import Podman, PodmanService  # noqa: PLC0415 (not for each runtime)

    client, _, server = program("version", timeout=_ANSWER_SECONDS).partition("Server:")
    # Distributions have Podman as the program docker, too.
    if _PODMAN in client:
        return Podman.by(program)
    if _PODMAN in server:
        return PodmanService.by(program)
    return Docker(program=program, daemon=DaemonByProgram(program))


def _docker_at_socket(program: Program) -> Daemon | None:
    """Return the daemon on this machine that the program would find, if that is Docker's."""
    path = local_socket(os.environ)
    if path is None or _is_script(program.words[0]):
        return None
    daemon = DaemonBySocket(path)
    try:
        version = daemon.version(_ANSWER_SECONDS)
    except ToolError:
        # The program may start it, or knows more about why.
        return None
    return None if _PODMAN in str(version) else daemon


def _is_script(program: str) -> bool:
    """Tell whether a program is a script, which does something else than Docker's own."""
    with suppress(OSError), Path(program).open("rb") as file:
        return file.read(2) == b"#!"
    return True


def _podman(program: Program) -> Runtime:
    from nixdock.runtime.podman import Podman  # noqa: PLC0415 (the same)

    program("version", timeout=_ANSWER_SECONDS)
    return Podman.by(program)


def _nerdctl(program: Program) -> Runtime:
    _ask_version(program)
    # Its IDs of images are digests of manifests.
    return DockerLike("nerdctl", program, ("--insecure-registry",), has_ids=False)


def _containerd(program: Program) -> Runtime:
    from nixdock.runtime.containerd import Containerd  # noqa: PLC0415 (the same)

    _ask_version(program, "/run/containerd/containerd.sock")
    return Containerd("containerd", program)


def _k3s(program: Program) -> Runtime:
    from nixdock.runtime.containerd import Containerd  # noqa: PLC0415 (the same)

    ctr = program.within("k3s ctr", "ctr")
    _ask_version(ctr, "/run/k3s/containerd/containerd.sock", "k3s")
    return Containerd("k3s", ctr)


def _kind(program: Program) -> Runtime:
    from nixdock.runtime.containerd import Kind  # noqa: PLC0415 (the same)

    return Kind(program)


def _minikube(program: Program) -> Runtime:
    from nixdock.runtime.minikube import Minikube  # noqa: PLC0415 (the same)

    return Minikube(program)


def _ask_version(program: Program, usual: str | None = None, daemon: str = "containerd") -> None:
    """Raise ToolError if the containerd of a program, which listens at `usual`, does not answer."""
    try:
        program("version", timeout=_ANSWER_SECONDS)
    except ToolError as error:
        # The program may only say that it has waited.
        address = os.environ.get("CONTAINERD_ADDRESS") or usual
        place = "" if address is None else f" It was asked at {address}, where often only root may."
        raise ToolError(
            f"{error}; is {daemon} running?{place} CONTAINERD_ADDRESS says where it listens",
            path=error.path,
        ) from None


_PROGRAMS: Final[dict[str, tuple[str, Callable[[Program], Runtime]]]] = {
    "docker": ("docker", _docker),
    "podman": ("podman", _podman),
    "containerd": ("ctr", _containerd),
    "nerdctl": ("nerdctl", _nerdctl),
    "kind": ("kind", _kind),
    "minikube": ("minikube", _minikube),
    "k3s": ("k3s", _k3s),
}

RUNTIMES: Final = tuple(_PROGRAMS)
"""The names of runtimes; the first two are looked for if none is named."""


def find_runtime(name: str | None = None) -> Runtime:
    """Return the runtime with that name, or the one of Docker and Podman that answers.

    Raise ToolError if none answers, and InputError if `name` is not one of RUNTIMES.
    """
    if name is not None:
        if name not in _PROGRAMS:
            raise InputError(f"{name!r} is not a runtime; known are {', '.join(RUNTIMES)}")
        return _named(name)
    problems = []
    for each in ("docker", "podman"):
        try:
            return _opened(each)
        except ToolError as error:
            problems.append(str(error))
    raise ToolError(
        f"there is no runtime to load the image into: {'; '.join(problems)}; start Docker or"
        " install Podman, or name another one with --into"
    )


def _opened(name: str) -> Runtime:
    program, runtime = _PROGRAMS[name]
    return runtime(find_program(program))


def _named(name: str) -> Runtime:
    try:
        return _opened(name)
    except ToolError:
        # That it was found by the program docker is not in its name.
        if name == "podman":
            with suppress(ToolError):
                found = _opened("docker")
                if found.name == name:
                    return found
        raise
