"""A fake registry, and an empty home for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..registry.fake_registry import FakeRegistry, fake_registry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """An empty registry that does everything right until it is told otherwise."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the cache of known layers, empty at first."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("NIX_BUILD_TOP", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return home / "cache/nixdock/layers"
