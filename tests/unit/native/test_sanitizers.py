"""The native packer under the sanitizers of the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hatch_build import compile_library

ROOT = Path(__file__).parents[3]
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def sanitized(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return the library, built with sanitizers, and the environment of a program that loads it."""
    library = tmp_path / "packer.so"
    assert compile_library(ROOT, library, *SANITIZERS) is None
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = {
        "LD_PRELOAD": runtime,
        # Python's own leaks are no faults of the packer.
        "ASAN_OPTIONS": "detect_leaks=0",
        # Let the sanitizer see the ends of Python's buffers.
        "PYTHONMALLOC": "malloc",
        "NIXDOCK_PACKER": "native",
    }
    return library, {**os.environ, **options}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_trees_that_change_while_they_are_read(tmp_path: Path, seed: int) -> None:
    library, env = sanitized(tmp_path)
    command = [sys.executable, "-m", "tests.unit.native.fuzz", str(library), str(seed), "150"]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # It is no test if these do not happen.
    assert {"NONE", "TREE", "FILE", "GREW", "SHRANK", "UNUSUAL"} == set(done.stdout.split())


@pytest.mark.slow
def test_hashes(tmp_path: Path) -> None:
    library, env = sanitized(tmp_path)
    program = (
        "import sys, pathlib, nixdock.native.library as library\n"
        "library.FILE = pathlib.Path(sys.argv.pop())\n"
        "import pytest; sys.exit(pytest.main())"
    )
    env["PYTEST_ADDOPTS"] = "-q -p no:cacheprovider -p no:xdist"
    done = subprocess.run(
        [sys.executable, "-c", program, "tests/unit/native/test_sha256.py", str(library)],
        cwd=ROOT,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_sanitizer_sees_a_fault(tmp_path: Path) -> None:
    """Else the tests above would pass for nothing."""
    library, env = sanitized(tmp_path)
    program = (
        "import sys, pathlib, nixdock.native.library as library\n"
        "library.FILE = pathlib.Path(sys.argv[1])\n"
        "native = library.native_library()\n"
        "native.nixdock_sha256_blocks(bytes(32), bytes(64), None, None, 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(library)],
        cwd=ROOT,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "AddressSanitizer: " in done.stderr
