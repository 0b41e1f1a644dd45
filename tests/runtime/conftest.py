"""Real runtimes, registries and readers, started once per test process and gone afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import require_tool
from .containerd import Containerd, containerd_daemon
from .engine import Docker, Podman, docker_daemon, podman_storage
from .home import Home
from .oci_tools import Skopeo, Umoci, private_skopeo
from .registry import Registry, local_registry
from .target import Target, containerd_target, engine_target
from .tiny_image import TinyImage, tiny_image


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "tmp").mkdir()
    return Home(tmp_path)


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker daemon of our own."""
    with docker_daemon() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Podman with storage of its own."""
    with podman_storage() as engine:
        yield engine


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """A containerd daemon of our own."""
    with containerd_daemon() as runtime:
        yield runtime


@pytest.fixture(params=["docker", "podman", "containerd"])
def target(request: pytest.FixtureRequest) -> Target:
    name: str = request.param
    found = request.getfixturevalue(name)
    return containerd_target(found) if name == "containerd" else engine_target(name, found)


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry; tests keep apart by the names of their repositories."""
    with local_registry() as server:
        yield server


@pytest.fixture
def repository() -> str:
    """The name of a repository that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def skopeo() -> Iterator[Skopeo]:
    """Skopeo, which trusts every image and needs no TLS."""
    with private_skopeo() as tool:
        yield tool


@pytest.fixture(scope="session")
def umoci() -> Umoci:
    """Umoci."""
    return Umoci(require_tool("umoci"))


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    """An image of BusyBox alone."""
    return tiny_image(tmp_path_factory.mktemp("tiny"))
