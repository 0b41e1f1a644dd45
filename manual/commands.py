"""The commands of nixdock as data, read from click."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click

from nixdock.cli import SECTIONS, main

__all__ = ["PROGRAM", "Command", "Option", "commands_by_section", "program", "read_command"]

PROGRAM: Final = "nixdock"

# click puts it before a paragraph whose lines are not to be joined.
_VERBATIM: Final = "\b\n"


@dataclass(frozen=True)
class Option:
    """An option: how it is written, and what it does."""

    forms: str
    effect: str


@dataclass(frozen=True)
class Command:
    """A command: `usage` follows its name, `paragraphs` are prose, `examples` lines to type."""

    name: str
    summary: str
    usage: str
    paragraphs: tuple[str, ...]
    options: tuple[Option, ...]
    examples: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """The words with which the command is called."""
        return f"{PROGRAM} {self.name}".strip()


def commands_by_section() -> Mapping[str, tuple[Command, ...]]:
    """Return all commands under the titles and in the order of `nixdock --help`."""
    return {title: tuple(map(read_command, names)) for title, names in SECTIONS.items()}


def program() -> Command:
    """Return nixdock itself, whose options may precede every command."""
    context = _context(None)
    return _described(main, context, name="", summary=(main.help or "").splitlines()[0])


def read_command(name: str) -> Command:
    """Return the command of this name, which must be one of nixdock's."""
    context = _context(None)
    command = main.get_command(context, name)
    assert command is not None, name
    summaries = {name: text for section in SECTIONS.values() for name, text in section.items()}
    return _described(command, _context(name), name=name, summary=summaries[name])


def _context(name: str | None) -> click.Context:
    parent = click.Context(main, info_name=PROGRAM, **main.context_settings)
    if name is None:
        return parent
    command = main.get_command(parent, name)
    assert command is not None
    return click.Context(command, info_name=name, parent=parent)


def _described(command: click.Command, context: click.Context, name: str, summary: str) -> Command:
    prose, examples = _divided(f"{command.help or ''}\n\n{command.epilog or ''}")
    options = tuple(
        Option(record[0], _joined(record[1]))
        for parameter in command.get_params(context)
        # Newer versions of click have records of arguments, too.
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context))
    )
    usage = " ".join(command.collect_usage_pieces(context))
    return Command(name, summary, usage, prose, options, examples)


def _divided(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide help into paragraphs of prose, and the lines of examples, without their title."""
    prose, examples = [], []
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.startswith(_VERBATIM):
            examples += [line.strip() for line in block.splitlines()[1:] if line[:1] == " "]
        elif block.strip():
            prose.append(_joined(block))
    return tuple(prose), tuple(examples)


def _joined(text: str) -> str:
    return " ".join(text.split())
