"""No command overwrites its input, and what is to be renewed is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .program import PROGRAM, environment, run_text

SampleSpec = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, sample_spec: SampleSpec) -> Path:
    """A directory with a spec, its graph, and an image."""
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    spec.rename(tmp_path / "s.json")
    assert run_text("build", "-q", "s.json", "-o", "z.tar", directory=tmp_path).returncode == 0
    os.link(tmp_path / "z.tar", tmp_path / "link.tar")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("build s.json -o s.json", "s.json"),
        ("build s.json -o ./x/../s.json", "s.json"),
        ("build s.json -o graph.json", "graph.json"),
        ("build s.json --graph graph.json -o graph.json", "graph.json"),
        ("build s.json -o new.tar --metadata-file s.json", "s.json"),
        ("build s.json -o new.tar --previous z.tar --metadata-file z.tar", "z.tar"),
        ("check z.tar --max-size 1GB --sarif z.tar", "z.tar"),
        ("copy z.tar z.tar", "z.tar"),
        ("copy oci-archive:z.tar docker-archive:link.tar", "z.tar"),
        ("copy s.json s.json", "s.json"),
        ("diff z.tar s.json --html z.tar", "z.tar"),
        ("export z.tar -o z.tar", "z.tar"),
        ("export z.tar -o link.tar", "z.tar"),
        ("index s.json -o s.json", "s.json"),
        ("index z.tar --tag me/x:1 --push localhost:1/x --digest-file z.tar", "z.tar"),
        ("inspect z.tar --html z.tar", "z.tar"),
        ("inspect z.tar --graph graph.json --html graph.json", "graph.json"),
        ("merge z.tar z.tar -o z.tar", "z.tar"),
        ("plan graph.json -o graph.json", "graph.json"),
        ("plan graph.json --html graph.json", "graph.json"),
        ("push s.json localhost:1/x --digest-file s.json", "s.json"),
        ("push oci-archive:z.tar localhost:1/x --digest-file z.tar", "z.tar"),
        ("resolve s.json -o s.json", "s.json"),
        ("resolve s.json -o r.json --plan s.json", "s.json"),
        ("sbom z.tar -o z.tar", "z.tar"),
    ],
)
def test_no_input_is_overwritten(place: Path, words: str, file: str) -> None:
    (place / "x").mkdir()
    before = (place / file).read_bytes()
    done = run_text(*words.split(), directory=place)
    assert done.returncode == 2, done.stderr
    assert "is also the input" in done.stderr.splitlines()[-1]
    assert (place / file).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        "sbom lay -o lay/index.json",
        "export lay -o lay/new.tar",
        "inspect oci:lay:v1 --html lay/blobs/../report.html",
        "diff z.tar lay --html link/index.json",
        "copy lay lay/index.json",
        "build base.json -o lay/index.json",
    ],
)
def test_an_image_in_a_directory_gets_no_other_files(place: Path, words: str) -> None:
    assert run_text("copy", "-q", "z.tar", "oci:lay:v1", directory=place).returncode == 0
    (place / "link").symlink_to("lay")
    spec = json.loads((place / "s.json").read_text()) | {"from_image": {"path": "oci:lay"}}
    (place / "base.json").write_text(json.dumps(spec))
    before = sorted((place / "lay").rglob("*"))
    done = run_text(*words.split(), directory=place)
    assert done.returncode == 2, done.stderr
    assert "is in the input" in done.stderr.splitlines()[-1]
    assert sorted((place / "lay").rglob("*")) == before
    assert run_text("verify", "lay", directory=place).returncode == 0


def test_standard_input_is_not_overwritten(place: Path) -> None:
    with (place / "s.json").open() as stream:
        done = subprocess.run(
            [*PROGRAM, "build", "-", "-o", "s.json"],
            stdin=stream,
            cwd=place,
            env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "the output s.json is also the input standard input" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "build -q s.json -o z.tar",
        "build -q s.json -o z.tar --previous z.tar",
        "build -q s.json -o /dev/null",
        "plan graph.json --previous plan.json -o plan.json",
        "resolve s.json -o r.json --previous plan.json --plan plan.json",
        "copy -q oci:layout:v1 oci:layout:v2",
    ],
)
def test_what_is_renewed_may_be_an_input(place: Path, words: str) -> None:
    for first in ("plan graph.json -o plan.json", "copy -q z.tar oci:layout:v1"):
        assert run_text(*first.split(), directory=place).returncode == 0
    done = run_text(*words.split(), directory=place)
    assert done.returncode == 0, done.stderr


def test_a_spec_may_name_its_output_as_the_previous_image(
    tmp_path: Path, sample_spec: SampleSpec
) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    for layering in ({}, {"previous": "z.tar"}):
        document = json.loads(spec.read_bytes()) | {"layering": layering}
        spec.write_text(json.dumps(document))
        done = run_text("build", "-q", spec, "-o", tmp_path / "z.tar")
        assert done.returncode == 0, done.stderr
