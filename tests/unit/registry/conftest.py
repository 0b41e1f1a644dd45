"""The fake registry, for the tests of everything that talks to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fake_registry import FakeRegistry, fake_registry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """An empty registry that does everything right until it is told otherwise."""
    with fake_registry() as registry:
        yield registry
