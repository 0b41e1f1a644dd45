"""Specs of one image, whose closure is in a store or in a binary cache alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.registry.fake_registry import FakeRegistry, fake_registry
from tests.unit.stores.fake_cache import FakeCache, fake_cache
from tests.unit.stores.sample_cache import APP, KEY, Sample, sample

from .program import environment, run

__all__ = ["cache", "closure", "local_spec", "nixdock", "registry", "remote_spec", "spec_file"]


@pytest.fixture(scope="module")
def closure(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("closure"))


@pytest.fixture
def cache(closure: Sample, tmp_path: Path) -> Iterator[FakeCache]:
    with fake_cache(closure.cache(tmp_path / "cache", listings=True)) as cache:
        yield cache


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def nixdock(home: Path, *arguments: object, status: int = 0) -> str:
    """Run nixdock for a user with nothing but what is given; return what it prints."""
    env = environment(HOME=str(home), XDG_CACHE_HOME=str(home / "c"), NIX_CONF_DIR="/none")
    done = run(*arguments, env=env)
    assert done.returncode == status, done.stderr.decode()
    return (done.stderr if status else done.stdout).decode()


def spec_file(file: Path, closure_spec: dict[str, Any], **changes: Any) -> Path:
    spec = {
        "version": 1,
        "name": "x",
        "closure": closure_spec,
        "contents": [APP],
        "config": {"Cmd": [f"{APP}/bin/app"]},
    }
    file.write_text(json.dumps(spec | changes))
    return file


def local_spec(directory: Path, closure: Sample, **changes: Any) -> Path:
    given = {"graph": str(closure.graph)}
    return spec_file(directory / "local.json", given, store={"root": str(closure.root)}, **changes)


def remote_spec(directory: Path, cache: FakeCache, **changes: Any) -> Path:
    given = {"roots": [APP], "stores": [cache.url], "trusted_public_keys": [KEY]}
    return spec_file(directory / "remote.json", given, **changes)
