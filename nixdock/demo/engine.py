"""Container engines on this machine that can run the demo image."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nixdock.errors import ToolError
from nixdock.oci.layout import Format
from nixdock.system.commands import run_command

__all__ = ["Engine", "available_engines"]

_LOADED_FORMATS: Final = {
    "docker": frozenset({Format.ARCHIVE, Format.DOCKER_ARCHIVE}),
    "podman": frozenset({Format.ARCHIVE, Format.DOCKER_ARCHIVE, Format.OCI_ARCHIVE}),
}
# Podman's first command takes longer: it sets up the storage.
_INFO_SECONDS: Final = 10
_LOAD_SECONDS: Final = 120
_RUN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine whose program has Docker's subcommands."""

    program: str

    @property
    def name(self) -> str:
        """The program's name."""
        return Path(self.program).name

    def is_available(self) -> bool:
        """Tell whether the program runs and its daemon, if it has one, answers."""
        try:
            self._call("info", seconds=_INFO_SECONDS)
        except ToolError:
            return False
        return True

    def run(self, archive: Path) -> str:
        """Load `archive`, run a container of its image and return the container's output.

        Raise ToolError with the engine's error output if the engine fails or takes too long.
        """
        output = self._call("load", "--input", str(archive), seconds=_LOAD_SECONDS)
        # Use the name from the output: engines add different registries to a name without one.
        loaded = re.search(r"^Loaded image(?:\(s\))?: (\S+)$", output, re.MULTILINE)
        if loaded is None:
            raise ToolError(f"{self.name} load did not print the image's name", path=self.program)
        # The demo needs no network, and another image of that name must not be pulled.
        options = ("--rm", "--network=none", "--pull=never")
        return self._call("run", *options, loaded[1], seconds=_RUN_SECONDS)

    def _call(self, *args: str, seconds: int) -> str:
        """Run a subcommand and return its output; raise ToolError if it fails."""
        result = run_command([self.program, *args], timeout=seconds)
        if result.status:
            raise ToolError(f"{self.name} {args[0]} failed: {result.reason()}", path=self.program)
        return result.output.decode("utf-8", "replace")


def available_engines(image_format: Format) -> Iterator[Engine]:
    """Yield the engines that are available and can load images of the given format."""
    for name, formats in _LOADED_FORMATS.items():
        program = shutil.which(name) if image_format in formats else None
        if program is not None and (engine := Engine(program)).is_available():
            yield engine
