"""The reference of the commands, in Markdown: a page for each, with examples that have been run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from manual.commands import Command, commands_by_section, program
from manual.scene import scene

__all__ = ["DEMONSTRATIONS", "INDEX", "command_pages", "page_of"]

INDEX: Final = "reference/commands/index.md"

DEMONSTRATIONS: Final = {
    "attach": ["nixdock attach oci:layout --sbom spdx"],
    "build": ["nixdock build demo.json -o image.tar"],
    "check": ["nixdock check demo.tar --max-size 200MB --deny-setuid"],
    "copy": ["nixdock copy demo.tar oci:copies:v1"],
    "db": ["nixdock db demo-graph.json --key amd64 -o database", "find database -type f | sort"],
    "demo": ["nixdock demo --no-run"],
    "diff": ["nixdock diff graph.json new-graph.json --max-layers 12"],
    "export": ["nixdock export demo.tar | tar --list"],
    "generate-key-pair": ["COSIGN_PASSWORD=secret nixdock generate-key-pair -o new"],
    "index": ["nixdock index demo.tar -o index.tar --tag demo:v1"],
    "inspect": ["nixdock inspect demo.tar"],
    "merge": ["nixdock merge demo.tar -o merged.tar"],
    "plan": [
        "nixdock plan graph.json --max-layers 12",
        "nixdock plan graph.json --max-layers 12 --explain python3-numpy",
        "nixdock plan graph.json --max-layers 12 --compare",
    ],
    "plan-family": ["nixdock plan-family a=graph.json b=new-graph.json -o plans"],
    "referrers": ["nixdock attach oci:layout --sbom spdx", "nixdock referrers oci:layout"],
    "registration": ["nixdock registration demo-graph.json --key amd64 | head -n 6"],
    "resolve": ["nixdock resolve demo.json -o resolved.json"],
    "sbom": ["nixdock sbom demo.tar --format table"],
    "schema": ["nixdock schema | head -n 12"],
    "serve": ["nixdock serve demo.tar --for 1"],
    "sign": [
        "nixdock sign oci:layout --key app.key",
        "nixdock verify oci:layout --signature --key app.pub",
    ],
    "stream": ["nixdock stream demo.json > stream.tar"],
    "tarsum": ["nixdock tarsum demo.tar"],
    "top-layer": ["nixdock top-layer next.json -o top"],
    "verify": ["nixdock verify demo.tar"],
}
"""What is run in a scene for the page of a command; the others need a registry or a runtime."""


def command_pages() -> dict[str, str]:
    """Return the pages of the commands, and an index, by their names below the documentation."""
    sections = commands_by_section()
    pages = {INDEX: "\n".join([*_index(), ""])}
    with scene() as stage:
        for command in (each for section in sections.values() for each in section):
            shown = [stage.shown(line) for line in DEMONSTRATIONS.get(command.name, [])]
            pages[page_of(command.name)] = "\n".join([*_page(command, shown), ""])
    return pages


def page_of(command: str) -> str:
    """Return the name of a command's page below the documentation."""
    # Not the name alone: one of the commands is `index`.
    return f"reference/commands/nixdock-{command}.md"


def _index() -> Iterator[str]:
    yield "# Commands"
    yield from ("", "Every command has a page here, which is made from the program itself.")
    yield "`nixdock COMMAND --help` and `man nixdock-COMMAND` say the same in a terminal."
    for title, commands in commands_by_section().items():
        yield from ("", f"## {title}", "", "| command | effect |", "|---|---|")
        for each in commands:
            page = page_of(each.name).rpartition("/")[2]
            yield f"| [`{each.full_name}`]({page}) | {_cell(each.summary)} |"
    yield from ("", "## Options of every command", "")
    yield from _options(program())
    yield from (
        "",
        "What commands have in common, such as their [exit statuses](../exit-statuses.md)",
    )
    yield "and [environment variables](../environment.md), is in pages of its own."


def _page(command: Command, shown: list[str]) -> Iterator[str]:
    yield from (f"# {command.full_name}", "")
    yield from ("```text", f"{command.full_name} {command.usage}", "```")
    for paragraph in command.paragraphs:
        yield from ("", paragraph)
    if command.examples:
        yield from ("", "## Examples", "", "```console")
        yield from (f"$ {line}" for line in command.examples)
        yield "```"
    if shown:
        yield from ("", "## What it prints")
        for text in shown:
            yield from ("", "```console", text, "```")
    yield from ("", "## Options", "")
    yield from _options(command)


def _options(command: Command) -> Iterator[str]:
    yield from ("| option | effect |", "|---|---|")
    for option in command.options:
        forms = option.forms.replace("|", "\\|")
        yield f"| `{forms}` | {_cell(option.effect)} |"


def _cell(text: str) -> str:
    """Return text for a cell of a table; what looks like an option or a file is code."""
    marked = re.sub(r"(?<![\w`-])(--?[a-z][a-z-]*)(?![\w`-])", r"`\1`", text)
    return marked.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
