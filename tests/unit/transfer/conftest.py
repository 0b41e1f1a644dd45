"""Two fake registries, a way to reach them without waiting, and an empty home for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nixdock.network.retrying import Pace
from nixdock.registry.access import Access

from ..registry.fake_registry import FakeRegistry, fake_registry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """An empty registry that does everything right until it is told otherwise."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    """Another registry."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def access() -> Access:
    """Access without credentials, and without waiting between attempts."""
    return Access(attempts=3, find=lambda *_: None, pace=Pace(sleep=lambda _: None))


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


@pytest.fixture
def parts(cache: Path) -> Path:
    """The directory where parts of blobs are kept, which need not exist."""
    return cache.parent / "partial"
