"""What a runtime is asked to pull."""

from __future__ import annotations

from collections.abc import Callable
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from nixdock.oci.reference import Reference
from nixdock.runtime.docker_like import DockerLike
from nixdock.runtime.loading import load_offer
from nixdock.runtime.program import Program

from .test_app import DATA, DIGEST, MANIFEST, OFFER

# Runtimes refuse names of repositories that are longer, with the host.
MOST = 255


class Pulling(DockerLike):
    """A runtime that reads what it is told to pull."""

    def __init__(self) -> None:
        super().__init__("pulling", Program("none", ("/nonexistent",)))
        self.names: list[tuple[str, Reference]] = []

    def pull(self, reference: str, abandon: Callable[[], object]) -> None:
        name, _, digest = reference.partition("@")
        host, _, repository = name.partition("/")
        assert (digest, len(name) <= MOST) == (MANIFEST.digest, True)
        with urlopen(f"http://{host}/v2/{repository}/blobs/{DIGEST}") as blob:
            assert blob.read() == DATA

    def tag(self, reference: str, name: Reference) -> None:
        self.names.append((reference, name))

    def remove(self, reference: str) -> None:
        assert reference == self.names[0][0]


@pytest.mark.parametrize("size", [1, 238, 239, 240, 250])
def test_long_names(size: int) -> None:
    name = Reference.of("a" * size, "v1")
    runtime = Pulling()
    loaded = load_offer(replace(OFFER, names=(str(name),)), runtime, [name])
    assert [each for _, each in runtime.names] == [name]
    assert (loaded.names, loaded.sent) == ((str(name),), len(DATA))
