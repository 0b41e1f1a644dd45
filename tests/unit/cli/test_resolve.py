"""`nixdock resolve`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.program import run_text

PATHS = [f"/nix/store/{i:032d}-p{i}" for i in range(150)]
HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
GRAPH = [
    {"path": path, "narSize": i, "references": PATHS[i + 1 : i + 2], "narHash": HASH}
    for i, path in enumerate(PATHS)
]

WriteSpec = Callable[..., Path]


def resolve(
    *arguments: object, data: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return run_text("resolve", *arguments, env={"PATH": os.defpath, **environment}, stdin=data)


@pytest.fixture
def write(tmp_path: Path) -> WriteSpec:
    """Return a function that writes a spec over a chain of 150 paths, and returns its file."""
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))

    def write_spec(**changes: object) -> Path:
        spec = {
            "version": 1,
            "name": "X/y",
            "closure": {"graph": "graph.json"},
            "layering": {"strategy": "popularity"},
            **changes,
        }
        file = tmp_path / "spec.json"
        file.write_text(json.dumps({k: v for k, v in spec.items() if v is not None}))
        return file

    return write_spec


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The path of the result, in a separate store."""
    file = tmp_path / "store" / f"{'7' * 32}-conf.json"
    file.parent.mkdir()
    return file


def resolved(out: Path, *arguments: object, **environment: str) -> dict[str, Any]:
    done = resolve(*arguments, "-o", out, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def test_the_plan_is_made(write: WriteSpec, out: Path) -> None:
    spec = resolved(out, write())
    assert "closure" not in spec
    assert [spec["version"], spec["name"], spec["source_date_epoch"]] == [1, "X/y", 1]
    layers = spec["store_layers"]
    assert len(layers) == 99
    assert layers[:98] == [[path] for path in PATHS[:-99:-1]]
    assert sorted(layers[-1]) == PATHS[:52]
    assert spec["store_paths"].keys() == set(PATHS)
    assert spec["store_paths"][PATHS[5]] == {"nar_size": 5, "nar_hash": HASH}


def test_a_database_needs_the_references(write: WriteSpec, out: Path) -> None:
    spec = resolved(out, write(nix_db=True))
    assert len(spec["store_layers"]) == 98
    assert spec["store_paths"][PATHS[5]]["references"] == [PATHS[6]]


def test_a_resolved_spec_stays_the_same(write: WriteSpec, out: Path, tmp_path: Path) -> None:
    first = resolved(out, write(max_layers=4))
    (tmp_path / "graph.json").unlink()
    again = tmp_path / "again.json"
    assert resolved(again, out) == first
    assert again.read_bytes() == out.read_bytes()


def test_the_inputs_order_does_not_matter(write: WriteSpec, out: Path, tmp_path: Path) -> None:
    first = resolved(out, write(max_layers=40))
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH[::-1]))
    assert resolved(out, tmp_path / "spec.json", PYTHONHASHSEED="5") == first


def test_the_graph_is_beside_the_spec_or_at_the_given_path(
    write: WriteSpec, out: Path, tmp_path: Path
) -> None:
    spec = write()
    elsewhere = tmp_path / "store" / "graph.json"
    elsewhere.write_text(json.dumps(GRAPH[149:]))
    assert resolved(out, spec, "--graph", elsewhere)["store_layers"] == [[PATHS[149]]]
    assert len(resolved(out, spec)["store_layers"]) == 99


def test_the_spec_from_standard_input(write: WriteSpec, out: Path, tmp_path: Path) -> None:
    text = write(closure={"graph": str(tmp_path / "graph.json")}).read_text()
    done = resolve("-", "-o", out, data=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(out.read_text())["store_layers"]) == 99


def test_tags(write: WriteSpec, out: Path) -> None:
    spec = write(tag="T")
    assert resolved(out, spec)["tag"] == "T"
    assert resolved(out, spec, "--tag", "V1")["tag"] == "V1"
    assert resolved(out, spec, "--tag-of-output")["tag"] == "7" * 32


def test_the_time_is_resolved(write: WriteSpec, out: Path) -> None:
    assert resolved(out, write(), SOURCE_DATE_EPOCH="77")["source_date_epoch"] == 77
    spec = write(source_date_epoch=5)
    assert resolved(out, spec, SOURCE_DATE_EPOCH="77")["source_date_epoch"] == 5


def test_a_stream_configuration_becomes_a_spec(tmp_path: Path, out: Path) -> None:
    conf = {
        "architecture": "amd64",
        "config": {"Cmd": ["x"]},
        "store_layers": [[PATHS[0]]],
        "customisation_layer": "/nix/store/top",
        "repo_tag": "x:y",
        "uid": "1000",
    }
    (tmp_path / "conf.json").write_text(json.dumps(conf))
    spec = resolved(out, tmp_path / "conf.json")
    assert [spec["version"], spec["name"], spec["tag"]] == [1, "x", "y"]
    assert spec["store"]["uid"] == 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"version": 2}, (), "spec.json: version: "),
        ({"name": None}, (), "missing required field `name`"),
        ({"unknown": 1}, (), "unknown field `unknown`"),
        ({"config": {"Env": "A=1"}}, (), "spec.json: config.Env: "),
        ({"tag": "-"}, (), "spec.json: tag: '-' is not a tag"),
        ({"max_layers": 1}, (), "max_layers is 1"),
        ({"closure": {"graph": "none.json"}}, (), "can't read the closure's graph"),
        ({"closure": {"graph": "."}}, (), "can't read the closure's graph"),
        ({"closure": {"graph": "spec.json"}}, (), "it is an image spec, not a reference graph"),
        ({"store": {"directory": "/gnu/store"}}, (), "is not in the store /gnu/store"),
        ({"closure": {"graph": "graph.json", "exclude": ["x"]}}, (), "closure.exclude[0]: 'x'"),
        ({}, ("--graph", "/none"), "can't read the closure's graph /none"),
        ({}, ("--tag", "-bad"), "'-bad' is not a tag"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    write: WriteSpec,
    out: Path,
    changes: dict[str, object],
    options: tuple[str, ...],
    message: str,
) -> None:
    done = resolve(write(**changes), "-o", out, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": 1}'])
def test_a_file_that_is_not_a_spec(tmp_path: Path, out: Path, content: str) -> None:
    file = tmp_path / "spec.json"
    file.write_text(content)
    done = resolve(file, "-o", out)
    assert done.returncode == 2
    assert done.stderr.startswith((f"error: {file}: ", f"error: {file} is "))
    assert not out.exists()


def test_an_invalid_epoch(write: WriteSpec, out: Path) -> None:
    done = resolve(write(), "-o", out, SOURCE_DATE_EPOCH="soon")
    assert done.returncode == 2
    assert done.stderr.startswith("error: SOURCE_DATE_EPOCH is 'soon'")


def test_wrong_usage(write: WriteSpec, out: Path, tmp_path: Path) -> None:
    for options in (
        ("-o", out, "--tag", "x", "--tag-of-output"),
        ("-o", tmp_path / "no-store-path", "--tag-of-output"),
        (),
    ):
        done = resolve(write(), *options)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not out.exists()


def test_an_output_that_can_not_be_written_is_status_1(write: WriteSpec, tmp_path: Path) -> None:
    done = resolve(write(), "-o", tmp_path / "none" / "out.json")
    assert done.returncode == 1
    assert done.stderr.startswith("error: can't write")
    assert len(done.stderr.splitlines()) == 1


def test_a_failure_keeps_an_existing_file(write: WriteSpec, out: Path) -> None:
    out.write_text("before")
    assert resolve(write(max_layers=1), "-o", out).returncode == 2
    assert out.read_text() == "before"
