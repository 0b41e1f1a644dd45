"""`nixdock plan`, and what all commands have in common."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PATHS = [f"/nix/store/{i:032d}-p{i}" for i in range(150)]
GRAPH = [
    {"path": path, "narSize": 10 * i, "references": PATHS[i + 1 : i + 2]}
    for i, path in enumerate(PATHS)
]


def nixdock(*arguments: object, data: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nixdock", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, text=True, check=False)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A chain of 150 paths."""
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(GRAPH))
    return file


def layers(*arguments: object, data: str = "") -> list[dict[str, Any]]:
    done = nixdock("plan", *arguments, "--json", data=data)
    assert done.returncode == 0, done.stderr
    document: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    assert list(document) == ["layers"]
    return document["layers"]


def test_json_has_the_store_layers_bottom_to_top(graph: Path) -> None:
    plan = layers(graph)
    assert len(plan) == 99
    assert [layer["paths"] for layer in plan[:98]] == [[path] for path in PATHS[:-99:-1]]
    assert plan[0]["nar_size"] == 1490
    assert sorted(plan[-1]["paths"]) == PATHS[:52]
    assert sum(layer["nar_size"] for layer in plan) == sum(10 * i for i in range(150))


def test_the_top_layer_counts(graph: Path) -> None:
    assert len(layers(graph, "--max-layers", 2)) == 1
    assert len(layers(graph, "--max-layers", 150)) == 149
    assert len(layers(graph, "--max-layers", 151)) == 150
    assert len(layers(graph, "--max-layers", 500)) == 150


def test_standard_input(graph: Path) -> None:
    assert layers("-", data=graph.read_text()) == layers(graph)


def test_keys_and_exclusions(tmp_path: Path) -> None:
    file = tmp_path / "attrs.json"
    file.write_text(json.dumps({"one": GRAPH[100:], "two": GRAPH[149:], "other": 1}))
    assert len(layers(file, "--key", "two")) == 1
    assert len(layers(file, "--exclude", PATHS[149])) == 49


def test_the_table_is_for_people(graph: Path) -> None:
    done = nixdock("plan", graph, "--max-layers", "4")
    assert done.returncode == 0
    assert not done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["layer", "paths", "size", "total", "store", "paths"]
    assert rows[0].split() == ["1", "1", "1.5", "kB", "1.5", "kB", PATHS[149].rpartition("/")[2]]
    assert rows[1].split()[4:6] == ["3.0", "kB"]
    assert rows[2].split()[:2] == ["3", "148"]
    assert rows[2].split()[4:6] == ["111.8", "kB"]
    assert [row.split()[-1] for row in rows] == [path[11:] for path in reversed(PATHS)]
    assert len(rows) == 150


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("{", (), "not valid JSON"),
        ("", (), "the closure is empty"),
        ("[]", (), "the closure is empty"),
        ("{}", (), "no reference graph in it"),
        ("hello", (), "a store path should stand here, not 'hello'"),
        (
            json.dumps(GRAPH[:1]),
            (),
            f"{PATHS[0]} refers to {PATHS[1]}, which is not in the closure",
        ),
        (json.dumps([{**GRAPH[149], "path": "/x"}]), (), "'/x' is not a store path"),
        (
            json.dumps([{**GRAPH[148]}, {**GRAPH[149], "references": [PATHS[148]]}]),
            (),
            f"the references form a cycle: {PATHS[148]} -> {PATHS[149]} -> {PATHS[148]}",
        ),
        (json.dumps(GRAPH), ("--max-layers", "1"), "max_layers is 1"),
        (json.dumps(GRAPH), ("--key", "k"), "a bare list has no key 'k'"),
        (json.dumps(GRAPH), ("--exclude", "x"), "'x' is not a store path"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, content: str, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "graph.json"
    file.write_text(content)
    done = nixdock("plan", file, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path):
        done = nixdock("plan", file)
        assert done.returncode == 2
        assert f"can't read the graph {file}" in done.stderr


@pytest.mark.parametrize("words", ["none", "plan", "plan --none", "plan x --max-layers y"])
def test_wrong_usage_is_status_2(words: str) -> None:
    done = nixdock(*words.split())
    assert done.returncode == 2
    assert "Usage: nixdock" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_debug_shows_where(tmp_path: Path) -> None:
    assert "Traceback" not in nixdock("plan", tmp_path / "none").stderr
    assert "Traceback" in nixdock("--debug", "plan", tmp_path / "none").stderr


def test_help_is_quick_and_complete() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = nixdock("--help")
        times.append(time.perf_counter() - start)
    for command in ("build", "stream", "plan", "inspect", "verify", "db", "registration"):
        assert f"  {command} " in done.stdout
    assert min(times) < 0.15


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, nixdock.cli;"
        "print(*{'networkx', 'rich', 'msgspec', 'orjson'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "command",
    ["build", "db", "demo", "inspect", "plan", "registration", "resolve", "schema", "stream",
     "top-layer", "verify"],
)  # fmt: skip
def test_every_command_has_help(command: str) -> None:
    done = nixdock(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: nixdock {command} ")
