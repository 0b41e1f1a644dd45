"""`nixdock plan`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.unit.cli.program import run_text

PATHS = [f"/nix/store/{i:032d}-p{i}" for i in range(150)]
GRAPH = [
    {"path": path, "narSize": 10 * i, "references": PATHS[i + 1 : i + 2]}
    for i, path in enumerate(PATHS)
]


def nixdock(*arguments: object, data: str = "") -> subprocess.CompletedProcess[str]:
    return run_text(*arguments, stdin=data)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A chain of 150 paths."""
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(GRAPH))
    return file


def document(*arguments: object, data: str = "") -> dict[str, Any]:
    done = nixdock("plan", *arguments, data=data)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def layers(*arguments: object, data: str = "") -> list[dict[str, Any]]:
    found = document(*arguments, "--json", data=data)
    assert found["version"] == 1
    read: list[dict[str, Any]] = found["layers"]
    return read


def test_json_has_the_store_layers_bottom_to_top(graph: Path) -> None:
    plan = layers(graph, "--strategy", "popularity")
    assert len(plan) == 99
    assert [layer["paths"] for layer in plan[:98]] == [[path] for path in PATHS[:-99:-1]]
    assert plan[0]["nar_size"] == 1490
    assert sorted(plan[-1]["paths"]) == PATHS[:52]
    assert sum(layer["nar_size"] for layer in plan) == sum(10 * i for i in range(150))


@pytest.mark.slow
def test_the_top_layer_counts(graph: Path) -> None:
    by_popularity = (graph, "--strategy", "popularity", "--max-layers")
    assert len(layers(*by_popularity, 2)) == 1
    assert len(layers(*by_popularity, 124)) == 123
    assert len(layers(*by_popularity, 125)) == 124
    # Docker takes no more.
    assert len(layers(*by_popularity, 500)) == 124


def test_sizes_that_together_need_more_than_64_bits(tmp_path: Path) -> None:
    file, size = tmp_path / "graph.json", 2**63 - 1
    file.write_text(json.dumps([{**info, "narSize": size} for info in GRAPH[-3:]]))
    together = ("--max-layers", 2)
    assert layers(file, *together) == [{"paths": ANY, "nar_size": 3 * size}]
    assert document(file, "--compare", "--json")["least"]["app_pull"] >= size
    done = nixdock("plan", file, *together, "-o", tmp_path / "plan.json")
    assert done.returncode == 0, done.stderr
    assert layers(file, *together, "--previous", tmp_path / "plan.json") == layers(file, *together)


def test_standard_input(graph: Path) -> None:
    assert layers("-", data=graph.read_text()) == layers(graph)


def test_keys_and_exclusions(tmp_path: Path) -> None:
    file = tmp_path / "attrs.json"
    file.write_text(json.dumps({"one": GRAPH[100:], "two": GRAPH[149:], "other": 1}))
    assert len(layers(file, "--key", "two")) == 1
    assert len(layers(file, "--exclude", PATHS[149])) == 49
    assert len(layers(file, "--root", PATHS[140], "--key", "one")) == 10


def test_the_table_is_for_people(graph: Path) -> None:
    done = nixdock("plan", graph, "--max-layers", "4", "--strategy", "popularity")
    assert done.returncode == 0
    assert not done.stderr
    assert (
        done.stdout
        == """\
layer  what           hash        size                            paths  changes with
    1  p149           000000    1.5 kB  ▍                             1  itself
    2  p148           000000    1.5 kB  ▍                             1  2 of 150 paths
    3  p0 +147 (app)  000000  108.8 kB  ████████████████████████    148  the app

150 store paths in 3 layers, 111.8 kB
"""
    )
    done = nixdock("plan", graph, "--max-layers", "4", "--strategy", "popularity", "--paths")
    head, *rows = done.stdout.splitlines()[:151]
    assert head.split() == ["store", "path", "hash", "layer", "size", "added", "closure"]
    assert [row.split()[0] for row in rows] == [path[44:] for path in reversed(PATHS)]


def test_the_ranking_has_exact_scores(graph: Path) -> None:
    # The graph is a chain, so the score of a path is the number of its referrers and itself.
    by_popularity = ("--max-layers", 4, "--strategy", "popularity", "--ranking")
    head, first, *rows = nixdock("plan", graph, *by_popularity).stdout.splitlines()
    assert head.split() == ["rank", "score", "size", "layer", "store", "path", "hash"]
    assert first.split() == ["1", "150", "1.5", "kB", "1", "p149", "000000"]
    assert len(rows) == 149
    found = json.loads(nixdock("plan", graph, *by_popularity, "--json").stdout)
    assert [path["layer"] for path in found] == [1, 2, *[3] * 148]
    size = found[3].pop("nar_size")
    assert size > 0
    assert found[3] == {"path": PATHS[146], "rank": 4, "score": "147", "layer": 3}


@pytest.mark.slow
def test_every_strategy_can_be_chosen(graph: Path) -> None:
    for strategy in ("auto", "popularity", "stable"):
        found = document(graph, "--strategy", strategy, "--max-layers", 20, "--json")
        assert found["strategy"] == strategy
        assert 1 < len(found["layers"]) <= 19
    assert document(graph, "--json")["strategy"] == "stable"


def test_groups_imply_their_strategy(graph: Path) -> None:
    groups = ("--group", f"{PATHS[3]},{PATHS[5]}", "--group", f"closure:{PATHS[148]},{PATHS[0]}")
    found = document(graph, *groups, "--rest", "auto", "--max-layers", 4, "--json")
    assert found["strategy"] == "explicit"
    sets = [sorted(layer["paths"]) for layer in found["layers"]]
    assert sets[:2] == [[PATHS[3], PATHS[5]], [PATHS[0], PATHS[148], PATHS[149]]]
    assert len(sets) == 3


@pytest.mark.slow
def test_a_pipeline_implies_its_strategy(graph: Path, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.json"
    file.write_text(json.dumps([["remove_paths", PATHS[9]], ["split_every", 2]]))
    # A pipeline sets its own limit, up to the most layers that Docker can handle.
    found = document(graph, "--pipeline", file, "--max-layers", 3, "--json")
    assert found["strategy"] == "pipeline"
    assert len(found["layers"]) == 75
    done = nixdock("plan", graph, "--pipeline", file)
    assert done.stdout.splitlines()[-1].split() == ["removed", "p9", "000000"]
    file.write_text(json.dumps([["split_every", 1]]))
    done = nixdock("plan", graph, "--pipeline", file)
    assert done.returncode == 2
    assert "the pipeline makes 150 store layers, but there is room for 124" in done.stderr
    file.write_text("[[]]")
    done = nixdock("plan", graph, "--pipeline", file)
    assert done.stderr.startswith(f"error: {file}: pipeline[0]: an operation is a list")


@pytest.mark.slow
def test_a_plan_continues_a_plan_file(graph: Path, tmp_path: Path) -> None:
    file = tmp_path / "image.plan.json"
    done = nixdock("plan", graph, "--max-layers", 10, "-o", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (
        document(graph, "--max-layers", 10, "--json")["layers"]
        == json.loads(file.read_text())["layers"]
    )
    # An unchanged closure keeps its plan.
    previous = ("--previous", file)
    assert layers(graph, *previous, "--max-layers", 10) == json.loads(file.read_text())["layers"]
    twice = (*previous, *previous, "--max-layers", 10)
    assert layers(graph, *twice) == json.loads(file.read_text())["layers"]
    done = nixdock("plan", graph, *previous, "--previous", tmp_path / "none")
    assert done.returncode == 2
    assert f"can't read the previous plan {tmp_path / 'none'}" in done.stderr


@pytest.mark.slow
def test_volatile_paths_may_be_given_by_name(graph: Path) -> None:
    found = layers(graph, "--volatile", "p70", "--max-layers", 10)
    assert found == layers(graph, "--volatile", PATHS[70], "--max-layers", 10)
    assert PATHS[70] in found[-1]["paths"]
    done = nixdock("plan", graph, "--volatile", PATHS[70].replace("070-", "071-"))
    assert done.returncode == 2
    assert f"is not in the closure; it contains {PATHS[70][11:]}" in done.stderr


def test_strategies_side_by_side(graph: Path, tmp_path: Path) -> None:
    found = document(graph, "--compare", "--max-layers", 20, "--json")
    assert list(found["plans"]) == ["auto", "popularity", "stable"]
    assert found["app"] == PATHS[:1]
    assert found["least"]["layers"] == 150
    for figures in found["plans"].values():
        assert figures["layers"] <= 19
        assert found["least"]["rebuild_pull"] <= figures["rebuild_pull"]
    file = tmp_path / "pipeline.json"
    file.write_text('[["split_every", 2]]')
    done = nixdock(
        "plan", graph, "--compare", "--pipeline", file, "--group", PATHS[0], "--rest", "auto"
    )
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        "strategy", "layers", "largest", "rebuild", "rebuild-docker", "app", "app-docker",
    ]  # fmt: skip

    assert [row.split()[0] for row in rows[:6]] == [
        "auto", "explicit", "pipeline", "popularity", "stable", "least",
    ]  # fmt: skip
    assert "app: bytes transferred if p0 and everything that refers to them change" in done.stdout


@pytest.mark.slow
def test_why_a_path_is_in_its_layer(graph: Path) -> None:
    by_popularity = ("--strategy", "popularity", "--max-layers", 4)
    done = nixdock("plan", graph, *by_popularity, "--explain", PATHS[149])
    assert done.stdout.splitlines() == [
        f"{PATHS[149][11:]} (1.5 kB) is in layer 1 of 3 (1.5 kB), alone",
        "  it is number 1 of 150 by popularity, with a score of 150",
        "  the 2 most popular paths have a layer each",
        "  it changes only by itself, its layer only by itself",
    ]
    done = nixdock("plan", graph, *by_popularity, "--explain", "p0")
    assert done.stdout.splitlines()[0].endswith("is in layer 3 of 3 (108.8 kB), with 147 others")
    assert done.stdout.splitlines()[-1] == (
        "  it changes if any of 150 store paths changes,"
        " its layer if any of 150 store paths changes"
    )
    found = document(graph, *by_popularity, "--explain", "p0", "--json")
    assert (found["path"], found["layer"]) == (PATHS[0], 3)
    done = nixdock("plan", graph, "--explain", "p")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: 'p' is neither a store path nor the name of one in the closure; did you mean "
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--strategy best", "'best' is not one of"),
        (
            "--compare --explain p0",
            "--compare, --ranking, --explain and --output are mutually exclusive",
        ),
        (
            "--ranking --compare",
            "--compare, --ranking, --explain and --output are mutually exclusive",
        ),
        ("--json -o x", "a plan file is always JSON"),
        ("--format markdown -o x", "a plan file is always JSON"),
        ("--compare --top 3", "only --json is for them"),
        ("--json --format text", "--json and --format are mutually exclusive"),
        ("--why p0 --paths", "--paths, --tree and --why are mutually exclusive"),
        ("--sort added", "--sort added is for --paths"),
        ("--json --top 3", "JSON has everything"),
        ("--format markdown --why p0", "--tree and --why are not for --format markdown"),
        ("--top 0", "0 is not in the range x>=1"),
        ("--strategy auto --group p0", "--group is for --strategy explicit"),
        ("--strategy auto --pipeline p0", "--pipeline is for --strategy pipeline"),
        ("--rest auto", "--rest is for --strategy explicit"),
        ("--strategy auto --rest popularity", "--rest is for --strategy explicit"),
        ("--strategy auto --volatile p0", "--volatile is for --strategy stable"),
        ("--group p0 --rest auto --previous x", "--previous is for --strategy stable"),
        ("--strategy pipeline", "the strategy 'pipeline' needs a pipeline"),
        ("--rest explicit", "'explicit' is not one of"),
        ("--group q0", "'q0' is neither a store path nor the name of one in the closure"),
        ("--max-layers 2 --group p0", "1 group and the 149 store paths left over"),
    ],
)
def test_incompatible_options(graph: Path, words: str, message: str) -> None:
    done = nixdock("plan", graph, *words.split())
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not done.stdout


def test_a_name_of_several_paths(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    twice = [PATHS[0], PATHS[1].replace("-p1", "-p0")]
    file.write_text(json.dumps([{"path": p, "narSize": 1, "references": []} for p in twice]))
    done = nixdock("plan", file, "--explain", "p0")
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'p0' is the name of 2 store paths; give HASH-NAME of one:"
        f" {twice[0][11:]}, {twice[1][11:]}\n"
    )
    assert nixdock("plan", file, "--explain", twice[1][11:]).returncode == 0


def test_names_stand_for_paths(graph: Path) -> None:
    few = ("--max-layers", 10)
    assert layers(graph, *few, "--exclude", "p3") == layers(graph, *few, "--exclude", PATHS[3])
    groups = (*few, "--rest", "auto", "--group")
    by_path = layers(graph, *groups, f"{PATHS[3]},closure:{PATHS[147]}")
    assert layers(graph, *groups, "p3,closure:p147") == by_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("{", (), "not valid JSON"),
        ("", (), "the closure is empty"),
        ("[]", (), "the closure is empty"),
        ("{}", (), "no reference graph in it"),
        ("hello", (), "expected a store path, not 'hello'"),
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
        (json.dumps(GRAPH), ("--exclude", "x"), "'x' is neither a store path nor"),
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


def test_missing_files_and_directories(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path):
        done = nixdock("plan", file)
        assert done.returncode == 2
        assert f"can't read the graph {file}" in done.stderr


def test_the_plan_of_a_spec_is_that_of_its_image(
    sample_spec: Callable[..., Path], sample_image: Callable[..., Path], tmp_path: Path
) -> None:
    """With its own options, and without the store paths of its base image."""
    spec = sample_spec(tmp_path, max_layers=3)
    resolved, file = tmp_path / "resolved.json", tmp_path / "plan.json"
    assert nixdock("resolve", spec, "-o", resolved, "--plan", file).returncode == 0
    assert nixdock("plan", spec, "-o", tmp_path / "written.json").returncode == 0
    assert (tmp_path / "written.json").read_bytes() == file.read_bytes()
    found = document(spec, "--json")
    assert found["layers"] == json.loads(file.read_text())["layers"]
    assert (found["strategy"], len(found["layers"])) == ("popularity", 2)
    shown = nixdock("plan", spec, "--paths").stdout
    assert shown.splitlines()[-1] == "4 store paths in 2 layers, 4.0 kB"
    ranked = nixdock("plan", spec, "--ranking", "--json")
    assert [path["rank"] for path in json.loads(ranked.stdout)] == [1, 2, 3, 4]

    base = sample_image(tmp_path / "base")
    changes: list[dict[str, Any]] = [
        {"from_image": {"path": str(base)}},
        {"closure": None, "contents": []},
    ]
    for each in changes:
        without = sample_spec(tmp_path, **each)
        # The graph's sizes are larger than the real ones: the base would have parts of the paths.
        graph = tmp_path / "graph.json"
        graph.write_text(graph.read_text().replace('"narSize": 1000', '"narSize": 1'))
        done = nixdock("plan", without)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith("the image has no store paths of its own")


@pytest.mark.parametrize(
    "option", ["--strategy=auto", "--max-layers=9", "--explain=x", "--compare"]
)
def test_a_spec_has_its_own_options(
    sample_spec: Callable[..., Path], tmp_path: Path, option: str
) -> None:
    done = nixdock("plan", sample_spec(tmp_path), option)
    assert done.returncode == 2
    message = "is for a graph; a spec says itself how its image is layered"
    assert f"error: {option.partition('=')[0]} {message}" in done.stderr


def test_a_resolved_spec_is_planned_already(
    sample_spec: Callable[..., Path], tmp_path: Path
) -> None:
    resolved = tmp_path / "resolved.json"
    assert nixdock("resolve", sample_spec(tmp_path), "-o", resolved).returncode == 0
    done = nixdock("plan", resolved)
    assert done.returncode == 2
    assert "the layers of a resolved spec are planned already; nixdock inspect shows them" in (
        done.stderr
    )
