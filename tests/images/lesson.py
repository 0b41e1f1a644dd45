"""A tutorial as a list of steps, and whoever follows it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..unit.code_blocks import blocks

__all__ = ["Command", "File", "follow", "steps"]

_MARK: Final = "=== command"


@dataclass(frozen=True)
class File:
    """A file that the reader is told to write."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the reader is told to run; `shown` is what the page says it prints.

    In `shown`, `…` stands for any text, and alone on a line, for any lines.
    """

    text: str
    shown: tuple[str, ...]

    def check(self, printed: str) -> None:
        """Assert that the shown lines are among the printed ones, in their order."""
        lines = iter(printed.splitlines())
        for line in filter(lambda line: line != "…", self.shown):
            pattern = ".*".join(map(re.escape, line.split("…")))
            found = any(re.fullmatch(pattern, each.rstrip()) for each in lines)
            assert found, f"{self.text}\nshould print\n{line}\nand prints\n{printed}"


def steps(page: Path, replacements: Mapping[str, str]) -> Iterator[File | Command]:
    """Yield the steps of a page, in which the keys of `replacements` are replaced, in order.

    Raise AssertionError if a key is nowhere in the page.
    """
    found = ""
    for block in blocks([page]):
        text = found_text = block.text
        for old, new in replacements.items():
            text = text.replace(old, new)
        found += found_text
        if block.title:
            yield File(block.title, text)
        elif block.language == "console":
            yield from _commands(text)
    assert [old for old in replacements if old not in found] == []


def _commands(text: str) -> Iterator[Command]:
    command, end = "", ""
    shown: list[str] = []
    for line in text.splitlines():
        if end:
            command += f"\n{line}"
            end = "" if line == end else end
        elif line.startswith("$ "):
            if command:
                yield Command(command, tuple(shown))
            command, shown = line[2:], []
            started = re.search(r"<<(\w+)", line)
            end = started[1] if started else ""
        else:
            shown.append(line)
    if command:
        yield Command(command, tuple(shown))


def follow(
    lesson: Sequence[File | Command],
    directory: Path,
    environment: Mapping[str, str],
    within: Sequence[str] = (),
) -> None:
    """Do all steps in one shell, and check what each command prints.

    `within` is a command that runs the shell somewhere else.
    """
    script = ["exec 2>&1"]
    for step in lesson:
        if isinstance(step, File):
            script.append(f"printf %s {shlex.quote(step.text)} > {shlex.quote(step.name)}")
        else:
            script += [f"echo '{_MARK}'", step.text]
    done = subprocess.run(
        [*within, "/bin/bash", "-eu", "-c", "\n".join(script)],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout.split(f"{_MARK}\n")[1:]
    commands = [step for step in lesson if isinstance(step, Command)]
    assert done.returncode == 0, f"{commands[len(printed) - 1].text}\n{done.stdout}{done.stderr}"
    for command, text in zip(commands, printed, strict=True):
        command.check(text)
