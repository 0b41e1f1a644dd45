"""The command line of a runtime: how it is called, and what its errors look like."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import ToolError
from nixdock.system.buffers import Write

if TYPE_CHECKING:
    from nixdock.system.commands import CommandResult

__all__ = ["Program", "find_program", "finish"]

# A header whose checksum is wrong.
_NO_TAR: Final = b"\xff" * 512


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the words that come before its subcommands, and what its environment adds.

    `name` is what errors call it.
    """

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __call__(
        self,
        *arguments: str,
        timeout: float | None = None,
        abandon: Callable[[], object] | None = None,
    ) -> str:
        """Run a subcommand and return its output; raise ToolError if it fails.

        With `abandon`, it ends by itself if this process is interrupted, as `run_command` says.
        """
        # Slow to load, and not needed for a daemon that answers at a socket.
        from nixdock.system.commands import run_command  # noqa: PLC0415

        result = run_command(
            [*self.words, *arguments], timeout=timeout, environment=self._all(), abandon=abandon
        )
        return self._output(result, arguments)

    def feed(self, write_input: Callable[[Write], object], *arguments: str) -> str:
        """Run a subcommand that reads the tar which `write_input` writes.

        It gets no tar if this process is interrupted. Raise ToolError if it fails.
        """
        from nixdock.system.commands import feed_command  # noqa: PLC0415 (the same)

        result = feed_command(
            [*self.words, *arguments], write_input, environment=self._all(), spoil=_NO_TAR
        )
        return self._output(result, arguments)

    def within(self, name: str, *words: str) -> Program:
        """Return a program that this one calls, by the name `name`."""
        return Program(name, (*self.words, *words), self.environment)

    def _all(self) -> dict[str, str] | None:
        return {**os.environ, **self.environment} if self.environment else None

    def _output(self, result: CommandResult, arguments: tuple[str, ...]) -> str:
        if result.status:
            raise ToolError(
                f"{self.name} {arguments[0]} failed: {result.reason()}", path=self.words[0]
            )
        return result.output.decode("utf-8", "replace")


def find_program(name: str) -> Program:
    """Return the program with that name in PATH; raise ToolError if there is none."""
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"{name} is not in PATH", path=name)
    return Program(Path(path).name, (path,))


def finish() -> None:
    """Let a program that is abandoned complete its work, which is short."""
