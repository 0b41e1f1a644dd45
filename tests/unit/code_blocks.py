"""The blocks of code in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Block", "blocks"]

_BLOCK: Final = r"^```(\w*)(?: title=\"([^\"\n]*)\")?\n(.*?)^```$"
# The commands of nixdock that talk to a registry or a runtime, or are one, or need a terminal.
_ASKS_REGISTRIES: Final = "browse|copy|load|login|prefetch|pull|push|run|serve|sign|tags"
# The name of an image in a registry, `docker://` being left out.
_IN_REGISTRY: Final = r"\s[\w-]+(?:\.[\w-]+)+(?::\d+)?/\S"


@dataclass(frozen=True)
class Block:
    """A block of code, with its document and the number of its first line.

    One with a title is the file of that name in a tutorial, of which a test runs all steps.
    """

    document: Path
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def script(self) -> str:
        """The commands of a console block: a prompt begins one, a here-document belongs to it."""
        script = []
        end = ""
        for line in self.text.splitlines():
            if end or line.startswith("$ "):
                script.append(line if end else line[2:])
                started = re.search(r"<<'?(\w+)", line)
                end = "" if line == end else started[1] if started else end
        return "".join(f"{line}\n" for line in script)

    @property
    def programs(self) -> set[str]:
        """The programs that a console block runs: the first words of its commands.

        With a command that asks a registry, `nixdock` is another program.
        """
        words = set(re.findall(r"(?:^\$ |\$\(|[|;&] )([^\s|;&)]+)", self.text, re.MULTILINE))
        return words | set(re.findall(rf"nixdock (?:{_ASKS_REGISTRIES})\b", self.text))

    @property
    def is_local(self) -> bool:
        """Whether a console block asks no registry and no binary cache."""
        is_far = re.search(rf"docker://|--store https://|{_IN_REGISTRY}", self.text)
        return not is_far

    @property
    def is_step(self) -> bool:
        """Whether the block is a step of a tutorial, which runs as a whole."""
        return self.document.parent.name == "tutorial"


def blocks(documents: Iterable[Path]) -> Iterator[Block]:
    """Yield the blocks of code in documents, in their order."""
    for document in documents:
        text = document.read_text()
        for found in re.finditer(_BLOCK, text, re.MULTILINE | re.DOTALL):
            yield Block(document, text.count("\n", 0, found.start()) + 1, *found.groups(""))
