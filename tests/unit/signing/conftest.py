"""A fake registry with an image, and a key pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.network.retrying import Pace

from ..registry.fake_registry import FakeRegistry, fake_registry

PASSWORD = b"correct horse"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Pair:
    """The files of a key pair."""

    private: Path
    public: Path


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return _pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def other_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return _pair(tmp_path_factory.mktemp("keys"))


def _pair(directory: Path) -> Pair:
    pair = Pair(directory / "k.key", directory / "k.pub")
    nixdock.generate_key_pair(pair.private, pair.public, PASSWORD)
    return pair


@pytest.fixture(params=[True, False], ids=["listed", "tagged"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    """A registry that lists referrers, or one in which clients keep the lists."""
    with fake_registry() as registry:
        registry.referrers = request.param
        yield registry


@pytest.fixture
def access() -> nixdock.Access:
    """Access without credentials, and without waiting between attempts."""
    return nixdock.Access(attempts=3, find=lambda *_: None, pace=Pace(sleep=lambda _: None))


def manifest_document(fake: FakeRegistry, text: str = "") -> dict[str, Any]:
    data = f'{{"architecture": "amd64", "os": "linux", "x": "{text}"}}'.encode()
    config = fake.add_blob("app", data)
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": len(data),
        },
        "layers": [],
    }


@pytest.fixture
def digest(fake: FakeRegistry) -> str:
    """The digest of the image app:v1."""
    return fake.add_manifest("app", manifest_document(fake), "v1")


@pytest.fixture
def reference(fake: FakeRegistry, digest: str) -> str:
    return f"docker://{fake.host}/app:v1"
