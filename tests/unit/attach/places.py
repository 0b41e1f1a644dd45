"""Where things are attached: a registry that lists referrers, and the layout of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nixdock

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
def layout(sample_spec: SampleSpec, tmp_path: Path) -> Path:
    target = tmp_path / "layout"
    nixdock.build_image(nixdock.read_spec(sample_spec(tmp_path)), target, form="oci-layout")
    return target
