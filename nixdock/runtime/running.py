"""Running an image that a runtime has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from nixdock.oci.reference import Reference
from nixdock.runtime.loading import Loaded
from nixdock.runtime.runtimes import find_runtime
from nixdock.system.commands import become_command

__all__ = ["run_loaded"]


def run_loaded(
    loaded: Loaded, arguments: Sequence[str], options: Sequence[str] = (), *, terminal: bool
) -> NoReturn:
    """Let this process become the runtime's program, which runs the image with `arguments`.

    `options` are those of the runtime's own `run`. Raise ToolError if it can't be started.
    """
    runtime = find_runtime(loaded.runtime)
    name = Reference.parse(loaded.names[0])
    become_command(runtime.run_line(name, arguments, options, terminal=terminal))
