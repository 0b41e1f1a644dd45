"""Why a script could not be started: from the process that failed to nixdock, in a file."""

from __future__ import annotations

# Not orjson: this module and those that import it need only the standard library, so that they
# start fast.
import json
from pathlib import Path

__all__ = ["EnterError", "read_failure", "report"]


class EnterError(Exception):
    """The program of a job can't be started.

    `refused` tells whether that is because the system does not allow what confines the program, and
    `without_namespaces` whether it allows no user namespaces at all.
    """

    def __init__(
        self, message: str, *, refused: bool = False, without_namespaces: bool = False
    ) -> None:
        super().__init__(message)
        self.refused = refused
        self.without_namespaces = without_namespaces


def report(error: EnterError, file: Path | int) -> None:
    """Write an error to `file`, a path or a descriptor."""
    document = json.dumps({"message": str(error), **vars(error)})
    with open(file, "w", encoding="ascii") as stream:  # noqa: PTH123 (also takes descriptors)
        stream.write(document)


def read_failure(file: Path) -> EnterError | None:
    """Return the error that was written to `file`, or None if there was none."""
    if not file.exists() or not file.stat().st_size:
        return None
    document = json.loads(file.read_bytes())
    return EnterError(document.pop("message"), **document)
