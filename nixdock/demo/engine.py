"""Container engines that happen to answer, to show that the demo's image runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nixdock.errors import NixdockError, ToolError
from nixdock.oci.layout import Format
from nixdock.system.commands import run_command

__all__ = ["Engine", "answering_engines"]

_READERS: Final = {
    "docker": frozenset({Format.ARCHIVE, Format.DOCKER_ARCHIVE}),
    "podman": frozenset({Format.ARCHIVE, Format.DOCKER_ARCHIVE, Format.OCI_ARCHIVE}),
}
# Podman sets up its storage when it is first asked anything.
_ANSWER_SECONDS: Final = 10
_LOAD_SECONDS: Final = 120
_RUN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that takes Docker's subcommands."""

    program: str

    @property
    def name(self) -> str:
        """The program's name."""
        return Path(self.program).name

    def answers(self) -> bool:
        """Tell whether the engine is there and works."""
        try:
            self._call("info", seconds=_ANSWER_SECONDS)
        except NixdockError:
            return False
        return True

    def run(self, archive: Path) -> str:
        """Load `archive`, run a container of its image and return what that prints.

        Raise NixdockError with the engine's reason when it can't.
        """
        output = self._call("load", "--input", str(archive), seconds=_LOAD_SECONDS)
        # The engines don't agree on the registry that a bare name is thought to come from.
        loaded = re.search(r"^Loaded image(?:\(s\))?: (\S+)$", output, re.MULTILINE)
        if loaded is None:
            raise ToolError(f"{self.name} load names no image", path=self.program)
        # No network to set up, and none to fetch another image from.
        options = ("--rm", "--network=none", "--pull=never")
        return self._call("run", *options, loaded[1], seconds=_RUN_SECONDS)

    def _call(self, *args: str, seconds: int) -> str:
        done = run_command([self.program, *args], timeout=seconds)
        if done.status:
            raise ToolError(f"{self.name} {args[0]} failed: {done.reason()}", path=self.program)
        return done.output.decode("utf-8", "replace")


def answering_engines(form: Format) -> Iterator[Engine]:
    """Yield the engines that answer and can load an image of the given form."""
    for name, forms in _READERS.items():
        program = shutil.which(name) if form in forms else None
        if program is not None and (engine := Engine(program)).answers():
            yield engine
