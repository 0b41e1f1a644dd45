"""Running an image that a runtime has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.loading import Loaded
from nixdock.runtime.runtimes import find_runtime
from nixdock.system.commands import become_command, run_command

__all__ = ["output_of", "run_loaded"]


def run_loaded(
    loaded: Loaded, arguments: Sequence[str], options: Sequence[str] = (), *, terminal: bool
) -> NoReturn:
    """Let this process become the runtime's program, which runs the image with `arguments`.

    `options` are those of the runtime's own `run`. Raise ToolError if it can't be started.
    """
    runtime = find_runtime(loaded.runtime)
    name = Reference.parse(loaded.names[0])
    become_command(runtime.run_line(name, arguments, options, terminal=terminal))


def output_of(loaded: Loaded, options: Sequence[str] = (), *, timeout: float) -> str:
    """Run an image with its own command, and return what it prints.

    Raise ToolError if it can't be started, fails or takes longer than `timeout` seconds.
    """
    runtime = find_runtime(loaded.runtime)
    name = Reference.parse(loaded.names[0])
    argv = runtime.run_line(name, (), options, terminal=False)
    result = run_command(argv, timeout=timeout)
    if result.status:
        raise ToolError(f"{runtime.name} run failed: {result.reason()}", path=argv[0])
    return result.output.decode("utf-8", "replace")
