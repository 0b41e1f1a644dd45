"""Every error of a spec names the file and the key, wherever it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .program import run_text

SampleSpec = Callable[..., Path]

MISSING = f"/nix/store/{'0' * 32}-missing"


def last_line(*words: object, directory: Path) -> str:
    done = run_text(*words, directory=directory)
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"closure": {"graph": "nope.json"}}, "closure.graph: can't read the closure's graph"),
        ({"closure": {"graph": "plan.json"}}, "closure.graph: plan.json"),
        ({"closure": {"roots": ["nope"]}}, "closure.roots[0]: 'nope' is not a store path"),
        ({"closure": {"graph": "graph.json", "exclude": ["x"]}}, "closure.exclude[0]: 'x'"),
        ({"contents": ["nope"], "copy_contents": True}, "contents[0]: nope does not exist"),
        ({"contents": [MISSING]}, f"contents[0]: {MISSING} does not exist"),
        ({"from_image": {"path": "nope.tar"}}, "from_image.path: can't open nope.tar"),
        ({"layering": {"previous": "nope"}}, "layering.previous: can't read the previous plan"),
        ({"layering": {"previous": ["nope"]}}, "layering.previous[0]: can't read the previous"),
        ({"layering": {"strategy": "explicit", "groups": [3]}}, "layering.groups[0]: must be"),
        ({"layering": {"strategy": "explicit", "plan": "nope"}}, "layering.plan: can't read"),
        ({"layering": {"strategy": "pipeline", "pipeline": "nope"}}, "layering.pipeline: can't"),
        ({"layering": {"strategy": "pipeline", "pipeline": [["x"]]}}, "layering.pipeline[0]"),
        ({"layering": {"volatile": ["x"]}}, "layering.volatile[0]: 'x' is not a store path"),
        ({"max_layers": 1}, "max_layers is 1"),
        ({"perms": [{"path": "/nope", "mode": "0"}]}, "perms[0]: no file of the image matches"),
        ({"top_layer": "nope", "contents": []}, "top_layer: nope is not a top layer with"),
    ],
)
def test_the_file_and_the_key_are_named(
    tmp_path: Path, sample_spec: SampleSpec, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "plan.json").write_text("{}")
    spec = sample_spec(tmp_path, **{"extra_commands": "", **changes})
    line = last_line("build", "-q", spec.name, "-o", "x", directory=tmp_path)
    assert line.startswith(f"error: {spec.name}: {message}")
    assert "Errno" not in line


def test_an_option_is_named_in_place_of_the_key_that_it_replaces(
    tmp_path: Path, sample_spec: SampleSpec
) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    build = ("build", "-q", spec, "-o", "x")
    for option, message in (
        ("--graph", "can't read the closure's graph nope"),
        ("--previous", "can't read the previous plan nope"),
    ):
        line = last_line(*build, option, "nope", directory=tmp_path)
        assert line.startswith(f"error: {option}: {message}: No such file")


def test_what_is_no_spec_has_no_name(tmp_path: Path, sample_spec: SampleSpec) -> None:
    sample_spec(tmp_path)
    line = last_line(
        "plan", "graph.json", "--strategy", "explicit", "--group", "x", directory=tmp_path
    )
    assert "graph.json" not in line


def test_standard_input(tmp_path: Path) -> None:
    spec = {"version": 1, "name": "x", "closure": {"graph": "nope.json"}}
    done = run_text("build", "-q", "-", "-o", "x", directory=tmp_path, stdin=json.dumps(spec))
    assert done.stderr.startswith("error: -: closure.graph: can't read")
