from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.figure import Figure
from tests.bench.record import last_values, save_figures

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_prints_every_figure(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "tests.bench", "--cache", str(tmp_path), "--repeat", "1"),
        *("--paths", "20", "--files", "300", "--bytes", "3MB"),
        *("--many", "500"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = [line[:36].rstrip() for line in done.stdout.splitlines()]
    assert "build --dry-run / SHA-256 alone" in figures
    assert "dry run, python / native packer" in figures
    assert "CPU time of a small file, native" in figures
    assert "stream | pigz -6 -p2 / build, gzip" in figures
    assert "two-pass tarfile / stream" in figures
    assert "stream, memory of all processes" in figures
    assert "plan" in figures
    assert "--help" in figures
    assert "popularity, 20000 paths" in figures
    assert "popularity, 20000 paths in chain" in figures
    assert "auto, 20000 paths in levels" in figures
    assert "stable, 500 pareto paths" in figures
    assert "all of these, 500 paths, memory" in figures
    assert "database, 5000 paths" in figures
    assert "zlib -6 / gzip, one thread" in figures
    assert "build, depth 5 / SHA-256 alone" in figures
    assert "docker load / load, app changed" in figures
    record = json.loads((tmp_path / "figures.json").read_bytes())
    assert record["settings"] == {"paths": 20, "files": 300, "bytes": 3_000_000}
    assert record["figures"].keys() == {*figures} - {"figure", "closure", figures[-1]}


def test_figures_are_compared_with_those_of_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "directory/figures.json"
    settings = {"paths": 20}
    assert last_values(file, settings) == {}
    save_figures(file, settings, [Figure("a", "2 s", 2.0, "< 3 s", True), Figure("b", "text")])
    assert last_values(file, settings) == {"a": 2.0}
    assert last_values(file, {"paths": 21}) == {}
