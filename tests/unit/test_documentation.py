"""Every example in the documentation works, and every file, heading and option it names exists."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import jsonschema
import pytest

import nixdock
from manual.anchors import anchor
from nixdock.cli import main
from tests.nix.conftest import nix, pkgs
from tests.nix.harness import Nix
from tests.unit.code_blocks import Block, blocks

__all__ = ["nix", "pkgs"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# A console example runs as it is if it uses no other programs than these, and no registry.
RUNS = {"nixdock", "cat"}
# With real Nix, it may also use these. All other examples are only parsed by a shell: they push,
# commit, or talk to a daemon or a registry.
RUNS_WITH_NIX = RUNS | {"nix", "realpath"}


BLOCKS = list(blocks(DOCUMENTS))
CONSOLE = [block for block in BLOCKS if block.language == "console"]


def each_block(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=str)


def with_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and not block.title]


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., str]:
    """Give a function that runs a script, which finds this nixdock, and returns its output."""
    program = tmp_path / "bin/nixdock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m nixdock "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])

    def run(directory: Path, *command: str, **variables: str) -> str:
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def provide(script: str, directory: Path, sample_spec: Callable[..., Path]) -> None:
    """Make the files that the commands of a script read: images, and a graph.

    Names of images that begin with `new` are those of another image.
    """
    written = set(re.findall(r"(?:-o|--output|>)\s*(\S+)", script))
    for name in sorted(set(re.findall(r"(?<=\s)[\w-]+\.tar\b", script)) - written):
        commands = f"echo {name.startswith('new')} > version"
        spec = sample_spec(directory, extra_commands=commands)
        build = ["build", str(spec), "-q", "-o", str(directory / name)]
        main.main(build, standalone_mode=False)
    if "graph.json" not in written:
        sample_spec(directory)


@each_block([b for b in CONSOLE if b.programs <= RUNS and b.is_local and not b.is_step])
def test_commands_run(
    block: Block, tmp_path: Path, shell: Callable[..., str], sample_spec: Callable[..., Path]
) -> None:
    provide(block.script, tmp_path, sample_spec)
    # The sample has a store path that stands for Nixpkgs' C library.
    shell(tmp_path, "sh", "-eu", "-c", block.script.replace("glibc", "libc"))


@pytest.mark.nix
@each_block([b for b in CONSOLE if RUNS < b.programs <= RUNS_WITH_NIX and not b.is_step])
def test_commands_run_with_nix(
    block: Block, tmp_path: Path, shell: Callable[..., str], nix: Nix
) -> None:
    registry = tmp_path / "registry.json"
    entry = {"from": {"type": "indirect", "id": "nixpkgs"}, "to": {"type": "path"}}
    entry["to"]["path"] = str(nix.pkgs)
    registry.write_text(json.dumps({"version": 2, "flakes": [entry]}))
    config = f"{nix.env['NIX_CONFIG']}flake-registry = {registry}\n"
    variables = {"NIX_CONFIG": config, "XDG_CONFIG_HOME": str(tmp_path)}
    assert shell(tmp_path, "sh", "-eu", "-c", block.script, **variables)


@each_block(CONSOLE)
def test_commands_parse(block: Block, shell: Callable[..., str]) -> None:
    assert block.script, "a console block has commands after `$ `"
    shell(ROOT, "sh", "-n", "-c", block.script)


@each_block(with_language("python"))
def test_programs_run(block: Block, tmp_path: Path, shell: Callable[..., str]) -> None:
    shell(tmp_path, sys.executable, "-c", block.text)


@each_block(with_language("json"))
def test_specs_are_read(block: Block, tmp_path: Path) -> None:
    """A spec may leave out its braces and its required keys, and hashes in store paths."""
    text = block.text if block.text.lstrip().startswith("{") else f"{{{block.text}}}"
    document = {"version": 1, "name": "x", **json.loads(text.replace("…", "a" * 32))}
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(document))
    nixdock.read_spec(file)
    schema = json.loads((ROOT / "nixdock/spec/image-spec-1.json").read_text())
    jsonschema.validate(document, schema)


@pytest.mark.nix
@each_block(with_language("nix"))
def test_expressions_parse(block: Block, shell: Callable[..., str]) -> None:
    """An expression may be a list of attributes, have free variables, and leave out others."""
    text = block.text.replace("{ … }", "{ }")
    if re.match(r"[\w.]+ =", text):
        text = f"{{ {text} }}"
    shell(ROOT, "nix-instantiate", "--parse", "-E", f"with {{ }};\n{text}")


@pytest.mark.parametrize(
    "tutorial", sorted(ROOT.glob("docs/tutorial/*.md")), ids=lambda file: file.stem
)
def test_tutorials_begin_with_what_they_need(tutorial: Path) -> None:
    """Apart from the usual programs of every system."""
    beginning = tutorial.read_text().partition("\n## ")[0].lower()
    words = set[str]().union(*(block.programs for block in CONSOLE if block.document == tutorial))
    programs = {word.rpartition("$(")[2].split()[0] for word in words}
    assert {each for each in programs if each not in beginning} <= {
        "cat",
        "cd",
        "mkdir",
        "sed",
        "…",
    }


def _prose(document: Path) -> str:
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


@functools.cache
def _anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    return set(map(anchor, re.findall(r"^#+ (.*)$", _prose(document), re.MULTILINE)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


def _code(document: Path) -> Iterator[str]:
    """Give the code in a document: each span in its prose, and each command of its examples."""
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _prose(document)))
    for block in CONSOLE:
        if block.document == document:
            yield from block.script.replace("\\\n", " ").splitlines()


@functools.cache
def _options() -> dict[str, set[str]]:
    """Return the options of every command; those of nixdock itself under the empty name."""
    context = click.Context(main)
    commands: dict[str, click.Command | None] = {"": main}
    commands |= {name: main.get_command(context, name) for name in main.list_commands(context)}
    options = {}
    for name, command in commands.items():
        assert command is not None
        parameters = [*main.params, *command.get_params(context)]
        options[name] = {text for each in parameters for text in [*each.opts, *each.secondary_opts]}
    return options


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_and_options_exist(document: Path) -> None:
    options = _options()
    for code in _code(document):
        for command, rest in re.findall(r"\bnixdock((?: [a-z][a-z-]*)?)(?![^ ])([^|;&]*)", code):
            name = command.strip()
            assert name in options, code
            used = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest.partition("#")[0]))
            assert used <= options[name], code
        if code.startswith("--"):
            assert any(code.split()[0] in known for known in options.values()), code


def test_commands_are_all_documented() -> None:
    code = [each for document in DOCUMENTS for each in _code(document)]
    for command in filter(None, _options()):
        assert any(re.match(rf"nixdock {command}\b", each) for each in code), command


def test_commands_that_read_binary_caches_are_all_named() -> None:
    text = (ROOT / "docs/caches.md").read_text()
    section = text.partition("## The pipeline\n")[2].partition("\n## ")[0]
    named = {name for name in _options() if re.search(rf"(`|nixdock ){name}\b", section)}
    assert {name for name, known in _options().items() if "--store" in known} <= named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_make_has_the_targets(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for each in _code(document) for name in re.findall(r"\bmake ([a-z-]+)", each)}
    named |= set(re.findall(r"^    make ([a-z-]+)", document.read_text(), re.MULTILINE))
    assert named <= targets
