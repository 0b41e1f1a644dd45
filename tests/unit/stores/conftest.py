"""Stores and caches for tests: one closure, on disk and in NARs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_cache import FakeCache, fake_cache
from .sample_cache import Sample, sample


@pytest.fixture(scope="session")
def closure(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The closure, which no test changes."""
    return sample(tmp_path_factory.mktemp("closure"))


@pytest.fixture
def fake(closure: Sample, tmp_path: Path) -> Iterator[FakeCache]:
    """A cache of the closure on loopback, signed and with xz."""
    with fake_cache(closure.cache(tmp_path / "cache")) as cache:
        yield cache
