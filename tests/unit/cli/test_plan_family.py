"""`nixdock plan-family`: common plans for several images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nixdock.cli.plan_family import command
from nixdock.errors import ClosureError, PlanError
from nixdock.layering.plan_file import parse_plan
from nixdock.nix.store_path import StorePath


def store_path(name: str) -> str:
    return f"/nix/store/{name[0] * 32}-{name}"


LIB, APP, OTHER = map(store_path, ("lib", "app", "bin"))
ONE = [
    {"path": LIB, "narSize": 1000, "references": []},
    {"path": APP, "narSize": 10, "references": [LIB]},
]
TWO = [ONE[0], {"path": OTHER, "narSize": 10, "references": [LIB]}]


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    file = tmp_path / "graphs.json"
    file.write_text(json.dumps({"one": ONE, "two": TWO}))
    return file


def plan_family(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def layers(file: Path) -> list[list[str]]:
    return [[*layer] for layer in parse_plan(file.read_bytes(), str(file)).layers]


def test_shared_paths_are_layers_of_both(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", f"b={graphs}#two", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.output == "2 images, 4 layers, 3 of them different\n"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.plan.json",
        "b.plan.json",
        "family.json",
    ]
    assert layers(tmp_path / "out/a.plan.json") == [[LIB], [APP]]
    assert layers(tmp_path / "out/b.plan.json") == [[LIB], [OTHER]]


def test_each_image_may_have_its_limit(graphs: Path, tmp_path: Path) -> None:
    limits = ("--max-layers", "a=2", "--max-layers", "9")
    done = plan_family(f"a={graphs}#one", f"b={graphs}#two", "-o", tmp_path / "out", *limits)
    assert done.exit_code == 0, done.output
    assert len(layers(tmp_path / "out/a.plan.json")) == 1
    assert len(layers(tmp_path / "out/b.plan.json")) == 2


def test_excluded_paths_stay_out(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", "--exclude", APP)
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[StorePath(LIB)]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "is not NAME=GRAPH"),
        (["../a=GRAPH#one"], "is not NAME=GRAPH"),
        (["a=GRAPH#one", "a=GRAPH#two"], "two images have the same name"),
        (["a=GRAPH#one", "--max-layers", "x"], "expected a number, or NAME=N"),
        (["a=GRAPH#one", "--max-layers", "b=5"], "expected a number, or NAME=N"),
    ],
)
def test_wrong_usage(graphs: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    given = [argument.replace("GRAPH", str(graphs)) for argument in arguments]
    done = plan_family(*given, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_no_room_and_no_paths(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", "--max-layers", "1")
    assert isinstance(done.exception, PlanError)
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "o", "--exclude", APP, "--exclude", LIB)
    assert isinstance(done.exception, ClosureError)
