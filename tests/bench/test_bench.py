from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_prints_every_figure(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "tests.bench", "--cache", str(tmp_path), "--repeat", "1"),
        *("--paths", "20", "--files", "300", "--bytes", "3MB"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = [line[:34].rstrip() for line in done.stdout.splitlines()]
    assert "build --dry-run / SHA-256 alone" in figures
    assert "two-pass tarfile / stream" in figures
    assert "stream, memory of all processes" in figures
    assert "plan" in figures
    assert "--help" in figures
    assert "popularity, 20000 paths" in figures
    assert "zlib -6 / gzip, one thread" in figures
    assert "build, depth 5 / SHA-256 alone" in figures
