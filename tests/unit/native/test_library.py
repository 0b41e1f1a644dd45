"""Choosing the native packer, and building it."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hatch_build import compile_library
from nixdock.errors import InputError, ToolError
from nixdock.native import library
from nixdock.native.library import PACKER_VARIABLE, native_library
from nixdock.native.sha256 import can_hash_two

ROOT = Path(__file__).parents[3]
SOURCES = [*(ROOT / "nixdock/native").glob("*.[ch]")]
MOST_LINES = 600


@pytest.fixture
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_loaded", library._loaded.__wrapped__)


def test_the_library_is_there_unless_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PACKER_VARIABLE, raising=False)
    assert native_library() is not None
    monkeypatch.setenv(PACKER_VARIABLE, "native")
    assert native_library() is not None
    monkeypatch.setenv(PACKER_VARIABLE, "python")
    assert native_library() is None


def test_an_unknown_packer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKER_VARIABLE, "rust")
    with pytest.raises(
        InputError, match="NIXDOCK_PACKER is 'rust'; set it to native or python"
    ) as caught:
        native_library()
    assert caught.value.key is None, "the command line would say that it is one of the spec"


@pytest.mark.usefixtures("not_loaded")
@pytest.mark.parametrize("contents", [None, b"", b"not a library"])
def test_a_library_that_can_not_be_loaded(
    tmp_path: Path, contents: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "packer.so"
    if contents is not None:
        file.write_bytes(contents)
    monkeypatch.setattr(library, "FILE", file)
    monkeypatch.delenv(PACKER_VARIABLE, raising=False)
    assert native_library() is None
    monkeypatch.setenv(PACKER_VARIABLE, "native")
    with pytest.raises(
        ToolError, match=f"but {file} is not there, or of another version"
    ) as caught:
        native_library()
    assert (caught.value.path, caught.value.key) == (str(file), None)


@pytest.mark.usefixtures("not_loaded")
def test_a_library_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, source in enumerate(["const int nixdock_packer_version = 999;", "int other;"]):
        # A name of its own: a library of the same name is not loaded again.
        file = tmp_path / f"packer-{number}.so"
        command = ["gcc", "-shared", "-x", "c", "-", "-o", str(file)]
        subprocess.run(command, input=source.encode(), check=True)
        monkeypatch.setattr(library, "FILE", file)
        monkeypatch.delenv(PACKER_VARIABLE, raising=False)
        assert native_library() is None


def test_both_sides_have_one_version() -> None:
    header = (ROOT / "nixdock/native/packer.h").read_text()
    assert f"NIXDOCK_PACKER_VERSION = {library._VERSION}," in header


def test_the_library_is_small() -> None:
    assert len(SOURCES) == 3
    assert sum(len(file.read_text().splitlines()) for file in SOURCES) <= MOST_LINES


@pytest.mark.parametrize("options", [["-O0"], ["-O2"], ["-O2", "-DNIXDOCK_PORTABLE"]])
def test_the_compiler_has_nothing_to_say(tmp_path: Path, options: list[str]) -> None:
    """Neither of the sources, nor of those for a CPU without instructions for SHA-256."""
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-std=c11"]
    sources = [str(source) for source in SOURCES if source.suffix == ".c"]
    output = tmp_path / "packer.so"
    command = ["gcc", *warnings, *options, "-fPIC", "-shared", *sources, "-o", str(output)]
    subprocess.run(command, check=True)
    is_there = ctypes.CDLL(str(output)).nixdock_sha256_is_there()
    assert is_there == (can_hash_two() and "-DNIXDOCK_PORTABLE" not in options)


def build(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel of the sources, with what is installed."""
    env = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=copied_sources(tmp_path / "sources"),
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def copied_sources(directory: Path) -> Path:
    (directory / "nixdock/native").mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (directory / name).write_bytes((ROOT / name).read_bytes())
    for file in [*SOURCES, ROOT / "nixdock/__init__.py", ROOT / "nixdock/native/__init__.py"]:
        (directory / file.relative_to(ROOT)).write_bytes(file.read_bytes())
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "status", "name", "message"),
    [
        ({}, 0, r"py3-none-linux_\w+", ""),
        ({"NIXDOCK_BUILD_NATIVE": "skip"}, 0, "py3-none-any", ""),
        ({"CC": "no-compiler"}, 0, "py3-none-any", "the native packer is not built: no-compiler: "),
        ({"CC": "gcc --no-such-option"}, 0, "py3-none-any", "the native packer is not built"),
        ({"CC": "no-compiler", "NIXDOCK_BUILD_NATIVE": "require"}, 1, "", "can't build the native"),
    ],
)
def test_a_wheel(
    tmp_path: Path, variables: dict[str, str], status: int, name: str, message: str
) -> None:
    done = build(tmp_path, **variables)
    assert done.returncode == status, done.stderr
    assert message in done.stdout + done.stderr
    wheels = [file.name for file in tmp_path.glob("*.whl")]
    assert len(wheels) == (status == 0)
    assert all(re.fullmatch(rf"nixdock-[0-9.]+-{name}\.whl", wheel) for wheel in wheels)


def test_sources_that_can_not_be_written_to(tmp_path: Path) -> None:
    """They are packed in Python then, as without a compiler."""
    problem = compile_library(ROOT, tmp_path / "none" / "packer.so")
    assert problem is not None
    assert problem.startswith(f"{tmp_path}/none/")
    assert problem.endswith(": No such file or directory")
