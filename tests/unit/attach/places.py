"""Where things are attached: a registry that lists referrers, and the layout of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..registry.fake_registry import FakeRegistry, fake_registry

__all__ = ["TYPE", "SampleSpec", "fake", "layout"]

SampleSpec = Callable[..., Path]
TYPE = "application/vnd.example+json"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.referrers = True
        yield registry


@pytest.fixture
def layout(sample_spec: SampleSpec, sample_image: SampleSpec, tmp_path: Path) -> Path:
    sample_spec(tmp_path)
    return sample_image(tmp_path / "layout", "oci-layout")
