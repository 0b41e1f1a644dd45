"""The memory of images that were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.runtime.load_memory import LoadMemory


def test_layers_are_those_of_images_that_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "cache/loads.json"
    LoadMemory(file).add("sha256:a", ["1", "2", "1"])
    LoadMemory(file).add("sha256:b", ["2", "3"])
    memory = LoadMemory(file)
    assert memory.layers_of(["sha256:a"]) == {"1", "2"}
    assert memory.layers_of(["sha256:a", "sha256:b", "sha256:c"]) == {"1", "2", "3"}


def test_the_oldest_images_are_forgotten(tmp_path: Path) -> None:
    memory = LoadMemory(tmp_path / "loads.json")
    for number in range(60):
        memory.add(str(number), [f"layer {number}"])
        memory.add("0", ["layer 0"])
    assert memory.layers_of(map(str, range(60))) == {
        "layer 0",
        *(f"layer {number}" for number in range(11, 60)),
    }


@pytest.mark.parametrize("text", ["", "[", "[]", '{"a": 1}', "1"])
def test_what_is_damaged_is_as_good_as_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "loads.json"
    file.write_text(text)
    memory = LoadMemory(file)
    assert memory.layers_of(["a"]) == set()
    memory.add("a", ["1"])
    assert memory.layers_of(["a"]) == {"1"}


def test_there_may_be_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for memory in (LoadMemory(None), LoadMemory(tmp_path / "file/loads.json")):
        memory.add("a", ["1"])
        assert memory.layers_of(["a"]) == set()
