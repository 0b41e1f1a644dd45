"""Running nixdock as a program, in an environment that does not influence it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

PROGRAM = [sys.executable, "-m", "nixdock"]
# What Python itself reads when it starts.
OF_PYTHON = ("PYTHON", "LC_", "LANG")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without the variables that influence nixdock, and with `changes`."""
    prefixes = ("NIX_", "NIXDOCK_", "LC_", "LANG", "PYTHON")
    names = {"SOURCE_DATE_EPOCH", "TZ", "stdenv", "IN_NIX_SHELL"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not name.startswith(prefixes)
    }
    return kept | changes


def run(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
    stdin: bytes = b"",
    directory: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run nixdock to its end, as a process with pipes for its output, and return the result.

    The process is a fork of one that has loaded nixdock, unless Python itself is to start with
    other settings.
    """
    env = environment() if env is None else env
    words = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in arguments]
    if any(name.startswith(OF_PYTHON) for name in env):
        return subprocess.run(
            [*PROGRAM, *words],
            env=env,
            umask=umask,
            cwd=directory,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
    request = {
        "arguments": words,
        "environment": dict(env),
        "directory": str(directory or Path.cwd()),
        "umask": umask,
    }
    pipes = [os.pipe() for _ in range(3)]
    (child_in, our_in), (our_out, child_out), (our_err, child_err) = pipes
    server = _server()
    theirs = [child_in, child_out, child_err]
    socket.send_fds(server, [json.dumps(request).encode()], theirs)
    for descriptor in theirs:
        os.close(descriptor)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(_write, our_in, stdin)
        outputs = list(pool.map(_read, (our_out, our_err)))
    status = int(server.recv(100))
    return subprocess.CompletedProcess([*PROGRAM, *words], status, *outputs)


def run_text(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
    stdin: str = "",
    directory: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run nixdock as `run` does, with text as its input and output."""
    done = run(*arguments, env=env, umask=umask, stdin=stdin.encode(), directory=directory)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def _write(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


@cache
def _server() -> socket.socket:
    """Start the server, which ends with this process, because nobody else has the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = Path(__file__).with_name("fork_server.py")
    root = Path(__file__).parents[3]
    with theirs:
        os.posix_spawn(
            sys.executable,
            [sys.executable, str(script), "3"],
            environment(PYTHONPATH=str(root)),
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
        )
    return ours


def enlarge(directory: Path, name: str, file: str, size: int) -> None:
    """Let a file of a store path of the sample spec in `directory` have `size` bytes, all zero.

    They take time to pack, but no room on the disk.
    """
    graph = json.loads((directory / "graph.json").read_text())
    (info,) = (info for info in graph if info["path"].endswith(f"-{name}"))
    info["narSize"] = size
    (directory / "graph.json").write_text(json.dumps(graph))
    target = directory / f"root{info['path']}" / file
    target.chmod(0o644)
    os.truncate(target, size)
