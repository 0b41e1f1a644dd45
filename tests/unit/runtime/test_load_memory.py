"""The memory of images that were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.oci.digests import hex_of, sha256_digest
from nixdock.runtime.load_memory import LoadMemory

A, B, C = (sha256_digest(name) for name in (b"a", b"b", b"c"))


def test_layers_are_those_of_images_that_are_asked_for(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    one, other = LoadMemory(directory), LoadMemory(directory)
    # Two loads at the same time: neither knows of the other.
    assert one.layers_of([A, B]) == other.layers_of([A, B]) == set()
    one.add(A, ["1", "2", "1"])
    other.add(B, ["2", "3"])
    memory = LoadMemory(directory)
    assert memory.layers_of([A]) == {"1", "2"}
    assert memory.layers_of([A, B, C]) == {"1", "2", "3"}
    memory.add(A, ["4"])
    assert memory.layers_of([A]) == {"4"}


def test_the_oldest_images_are_forgotten(tmp_path: Path) -> None:
    memory = LoadMemory(tmp_path)
    images = [sha256_digest(b"%d" % number) for number in range(200)]
    for image in images:
        memory.add(image, [image])
    left = memory.layers_of(images)
    # Times of files are not exact enough to tell which of two was written first.
    assert 40 < len(left) <= 64
    assert left.issuperset(images[-20:])


@pytest.mark.parametrize(
    "text", ["", "[", "{}", '{"a": 1}', "1", "[1, [2]]", '["1', "\xff", "[" * 20_000]
)
def test_what_is_damaged_is_as_good_as_nothing(tmp_path: Path, text: str) -> None:
    memory = LoadMemory(tmp_path)
    memory.add(A, ["1"])
    (tmp_path / "loads" / hex_of(A)).write_text(text, "latin-1")
    assert memory.layers_of([A]) == set()
    memory.add(A, ["1"])
    assert memory.layers_of([A]) == {"1"}


@pytest.mark.parametrize("name", ["sha256:../secret", "", "sha256:", "secret", f"{A}/.."])
def test_what_is_no_digest_is_not_looked_for(tmp_path: Path, name: str) -> None:
    memory = LoadMemory(tmp_path)
    memory.add(A, ["1"])
    (tmp_path / "secret").write_text('["2"]')
    assert memory.layers_of([name]) == set()


def test_there_may_be_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for memory in (LoadMemory(None), LoadMemory(tmp_path / "file")):
        memory.add(A, ["1"])
        assert memory.layers_of([A]) == set()
