"""What is read from click is whole, and the examples of commands are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from manual.commands import PROGRAM, Command, commands_by_section, program
from nixdock.cli import main

COMMANDS = [command for section in commands_by_section().values() for command in section]


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of nixdock in a line of a shell."""
    for part in re.split(r" [|>] ", line):
        words = shlex.split(part)
        if words[0] == PROGRAM:
            yield words[1:]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_examples_that_click_takes(command: Command) -> None:
    found = [call for line in command.examples for call in calls(line)]
    assert any(name == command.name for name, *_ in found)
    context = click.Context(main)
    for name, *arguments in found:
        called = main.get_command(context, name)
        assert called is not None
        # Files need not exist: only the options and the number of arguments are looked at.
        values, _, _ = called.make_parser(click.Context(called)).parse_args(arguments)
        assert values.keys() <= {each.name for each in called.get_params(context)}


@pytest.mark.parametrize("command", [program(), *COMMANDS], ids=lambda command: command.name)
def test_help_is_prose_and_options_have_effects(command: Command) -> None:
    assert command.paragraphs
    assert all("\b" not in text and "Examples:" not in text for text in command.paragraphs)
    assert command.summary.endswith(".")
    for option in command.options:
        assert option.forms.startswith("-")
        assert option.effect.endswith((".", "]"))
