from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.picture import COMPARISONS, drawn
from tests.bench.record import last_run, this_machine
from tests.bench.test_picture import install

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_prints_every_figure(tmp_path: Path) -> None:
    fake = Path(__file__).with_name("fake_nix2container.py")
    install(tmp_path / "bin", f'exec {shlex.join([sys.executable, str(fake)])} "$@"')
    command = [
        *(sys.executable, "-m", "tests.bench", "--cache", str(tmp_path), "--repeat", "1"),
        *("--paths", "20", "--files", "300", "--bytes", "3MB"),
        *("--many", "500"),
    ]
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
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
    assert "resolve, CPU time" in figures
    assert "5 MB alone, CPU time" in figures
    assert "dry run, 5 MB app changed / alone" in figures
    assert "docker load < result / app changed" in figures
    assert "docker load / load, app changed" in figures
    assert "serve to 64 clients, memory" in figures
    assert "nix2container / build --dry-run" in figures
    run = last_run(tmp_path / "figures.json")
    assert run is not None
    assert run.settings == {"paths": 20, "files": 300, "bytes": 3_000_000}
    assert run.machine == this_machine()
    assert run.figures.keys() == {*figures} - {"figure", "closure", figures[-1]}
    # The picture needs the names of the figures.
    assert drawn(run).count('class="own"') == len(COMPARISONS)
