"""Man pages in the language of man(7), which groff and mandoc read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from manual.commands import PROGRAM, Command, commands_by_section, program
from manual.environment import EXIT_STATUSES, FILES, VARIABLES

__all__ = ["man_pages"]

_SECTION: Final = "1"
_ESCAPES: Final = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
}


def man_pages(version: str) -> dict[str, str]:
    """Return the page of nixdock and those of its commands, by the names of their files."""
    sections = commands_by_section()
    pages = {f"{PROGRAM}.{_SECTION}": _overview(program(), sections, version)}
    for command in (each for section in sections.values() for each in section):
        pages[f"{_page_name(command)}.{_SECTION}"] = _command_page(command, version)
    return pages


def _overview(command: Command, sections: Mapping[str, Iterable[Command]], version: str) -> str:
    lines = [*_beginning(command, version), ".SH COMMANDS"]
    for title, commands in sections.items():
        lines += [f".SS {_escaped(title)}"]
        for each in commands:
            lines += [".TP", f".BR {_escaped(_page_name(each))} ({_SECTION})", _text(each.summary)]
    lines += _options(command)
    lines += _definitions("ENVIRONMENT", VARIABLES)
    lines += _definitions("FILES", FILES)
    lines += _definitions("EXIT STATUS", EXIT_STATUSES)
    return "\n".join([*lines, ""])


def _command_page(command: Command, version: str) -> str:
    lines = [*_beginning(command, version), *_options(command)]
    if command.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_line, command.examples), ".fi"]
    lines += _definitions("EXIT STATUS", EXIT_STATUSES)
    lines += [".SH SEE ALSO", f".BR {PROGRAM} ({_SECTION})"]
    return "\n".join([*lines, ""])


def _beginning(command: Command, version: str) -> Iterator[str]:
    name = _page_name(command)
    # No date: a page is as old as its version.
    yield f'.TH {_escaped(name.upper())} {_SECTION} "" "{PROGRAM} {_escaped(version)}"'
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_text(command.summary.rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{_escaped(command.full_name)}\\fR {_escaped(command.usage)}"
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(command.paragraphs):
        if number:
            yield ".PP"
        yield _text(paragraph)


def _options(command: Command) -> Iterator[str]:
    yield ".SH OPTIONS"
    for option in command.options:
        yield ".TP"
        yield f"\\fB{_escaped(option.forms)}\\fR"
        yield _text(option.effect)


def _definitions(title: str, entries: Mapping[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for term, meaning in entries.items():
        yield ".TP"
        yield f"\\fB{_escaped(term)}\\fR"
        yield _text(meaning)


def _page_name(command: Command) -> str:
    return command.full_name.replace(" ", "-")


def _text(text: str) -> str:
    """Return prose, in which `code` is bold, with one sentence on each line as roff wants it."""
    spans = re.split(r"`([^`]*)`", text)
    marked = "".join(
        f"\\fB{_escaped(span)}\\fR" if number % 2 else _escaped(span)
        for number, span in enumerate(spans)
    )
    return "\n".join(map(_guarded, re.split(r"(?<=[.?!]) +(?=[A-Z])", marked)))


def _line(text: str) -> str:
    return _guarded(_escaped(text))


def _guarded(line: str) -> str:
    """Keep a line that begins like a request from being one."""
    return f"\\&{line}" if line[:1] in (".", "'") else line


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES.get(character, character) if character.isascii() else f"\\[u{ord(character):04X}]"
        for character in text
    )
