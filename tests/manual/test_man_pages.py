"""Two readers of man pages accept each page, and the pages say what the command line says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from manual.commands import commands_by_section
from manual.environment import EXIT_STATUSES, VARIABLES
from manual.man_pages import man_pages
from nixdock.cli import main

ROOT = Path(__file__).parents[2]
PAGES = man_pages("1.2.3")
# A page has no date, so that it is the same whenever it is made.
DATELESS = "missing date"


def rendered(name: str, directory: Path) -> str:
    """Return a page as plain text, as mandoc shows it on a terminal of any width."""
    file = directory / name
    file.write_text(PAGES[name])
    command = ["mandoc", "-T", "utf8", "-O", "width=500", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r".\x08", "", text)


@pytest.mark.tools
def test_mandoc_accepts_each_page(share: Path) -> None:
    pages = sorted((share / "man/man1").iterdir())
    assert len(pages) == len(PAGES)
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert [line for line in lines if DATELESS not in line] == []


@pytest.mark.tools
def test_groff_accepts_each_page(share: Path) -> None:
    environment = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    for page in sorted((share / "man/man1").iterdir()):
        done = subprocess.run(
            ["man", "--warnings", "--local-file", page],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == "", page.name
        assert "SYNOPSIS" in done.stdout


@pytest.mark.tools
def test_a_page_has_every_option_with_its_effect(tmp_path: Path) -> None:
    context = click.Context(main)
    for command in (each for section in commands_by_section().values() for each in section):
        text = rendered(f"nixdock-{command.name}.1", tmp_path)
        found = main.get_command(context, command.name)
        assert found is not None
        for parameter in found.get_params(context):
            if isinstance(parameter, click.Option):
                assert all(form in text for form in [*parameter.opts, *parameter.secondary_opts])
                assert parameter.help is not None
                effect = " ".join(parameter.help.replace("`", "").split())
                assert effect in re.sub(r"\s+", " ", text), parameter.name
        for example in command.examples:
            assert example in text


@pytest.mark.tools
def test_the_first_page_names_all_commands(tmp_path: Path) -> None:
    text = rendered("nixdock.1", tmp_path)
    for name in main.list_commands(click.Context(main)):
        assert f"nixdock-{name}(1)" in text
    for name in VARIABLES:
        assert name in text


def test_pages_depend_on_the_version_alone() -> None:
    assert man_pages("1.2.3") == PAGES
    assert all("nixdock 1.2.3" in page.splitlines()[0] for page in PAGES.values())


def test_variables_are_those_that_the_documentation_lists() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text()
    for name in VARIABLES:
        assert f"`{name}`" in page


def test_exit_statuses_are_those_that_the_documentation_lists() -> None:
    page = (ROOT / "docs/reference/exit-statuses.md").read_text()
    assert re.findall(r"^\| ([0-9, ]+) \|", page, re.MULTILINE) == [*EXIT_STATUSES]
