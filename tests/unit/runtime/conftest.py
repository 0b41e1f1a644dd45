"""An empty home for each test, and directories that show what is left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, with an empty cache."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("NIX_BUILD_TOP", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return home


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, which must be empty in the end."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture(scope="session")
def sample_spec(sample_spec: Callable[..., Path]) -> Callable[..., Path]:
    """Give the function that writes a spec, but without a script, which would take the time."""

    def write(directory: Path, **changes: object) -> Path:
        return sample_spec(directory, **({"extra_commands": ""} | changes))

    return write
