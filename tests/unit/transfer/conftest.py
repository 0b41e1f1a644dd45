"""Two registries, a way to reach them without waiting, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nixdock.registry.access import Access
from nixdock.registry.retrying import Pace
from tests.unit.registry.fake_registry import FakeRegistry, fake_registry


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
    """Where parts of blobs are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nixdock" / "partial"
