"""The memory in the image config: what it says, how small it is, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given

from nixdock.errors import LayeringError
from nixdock.layering import LayeringOptions
from nixdock.layering.memory import MOST_MEMORY, memory_document, parse_memory
from nixdock.layering.package_keys import package_keys
from nixdock.layering.packed_memory import pack_memory
from nixdock.layering.plan_history import ChangeCounts, PlanHistory, PreviousPlan
from nixdock.layering.reach import name_then_path
from nixdock.nix.hashes import base32_encode
from nixdock.nix.store_path import StorePath
from tests.bench.products import GRAPHS, read_graph
from tests.unit.closures import Nodes, closure_of, node_sets, store_path
from tests.unit.layering.test_plan_file import CLOSURE, HISTORY, LAYERS, histories

CHAIN = f"sha256:{'0' * 64}"


def memory(**changes: Any) -> dict[str, Any]:
    document = memory_document(LAYERS, HISTORY, CHAIN)
    assert document is not None
    return {**document, **changes}


def test_it_is_small_and_can_be_read_by_people() -> None:
    hashes = {path.name: path.hash_part[:8] for layer in LAYERS for path in layer}
    assert memory() == {
        "version": 1,
        "chain_id": CHAIN,
        "store": "/nix/store",
        "layers": [
            f"{hashes['libc']}-libc",
            f"{hashes['lib']}-lib {hashes['data']}-data",
            f"{hashes['app']}-app",
        ],
        "steps": 7,
        "app_only": 3,
        "counts": {"app": [7, 6], "data": [2, 0]},
    }


def test_it_is_read_back_with_the_hashes_of_the_next_closure() -> None:
    plan = parse_memory(memory(), CHAIN)
    assert plan.completed(CLOSURE.infos) == PreviousPlan(LAYERS, HISTORY)
    assert [path.name for layer in plan.layers for path in layer] == ["libc", "lib", "data", "app"]
    # The other path of this name was rebuilt, so its hash begins differently.
    other = closure_of({"libc": (1, [])}, "rebuilt")
    assert plan.completed(other.infos) == plan
    options = LayeringOptions(previous=plan)
    assert options.for_closure(CLOSURE).previous == PreviousPlan(LAYERS, HISTORY)


def test_a_path_that_is_there_both_whole_and_abbreviated_stands_for_one() -> None:
    path = LAYERS[0][0]
    text = f"{path.hash_part}-{path.name}"
    document = memory(layers=[text, f"{path.hash_part[:8]}-{path.name}"])
    plan = parse_memory(document, CHAIN)
    assert plan.completed(CLOSURE.infos) == plan
    assert plan.layers[0] == (path,)


@given(node_sets(), histories)
def test_whatever_is_written_is_read_back(nodes: Nodes, history: PlanHistory) -> None:
    closure = closure_of(nodes)
    layers = tuple((path,) for path in reversed([*closure.infos]))
    document = json.loads(json.dumps(memory_document(layers, history, CHAIN)))
    plan = parse_memory(document, CHAIN).completed(closure.infos)
    assert plan == PreviousPlan(layers, history)


def test_hashes_that_begin_alike_are_kept_whole() -> None:
    first, second = (StorePath.parse(f"/gnu/store/{'a' * 31}{letter}-x") for letter in ("b", "c"))
    document = memory_document([[first, second]], PlanHistory(), CHAIN)
    assert document is not None
    assert document["layers"] == [f"{first.base_name} {second.base_name}"]
    assert parse_memory(document, CHAIN).layers == ((first, second),)


def test_without_room_for_the_layers_it_keeps_the_history() -> None:
    size = len(json.dumps(memory(), separators=(",", ":")))
    assert size <= MOST_MEMORY
    assert memory_document(LAYERS, HISTORY, CHAIN, most=size) == memory()
    short = memory_document(LAYERS, HISTORY, CHAIN, most=size - 1)
    assert short == memory(layers=[])
    assert parse_memory(short, CHAIN) == PreviousPlan((), HISTORY)
    assert memory_document(LAYERS, HISTORY, CHAIN, most=50) is None


def test_200_paths_take_less_than_a_label_may() -> None:
    layers = [[store_path(f"a-package-{i}-1.2.{i}")] for i in range(200)]
    counts = {f"a-package-{i}": ChangeCounts(9, 2) for i in range(20)}
    document = memory_document(layers, PlanHistory(9, 3, counts), CHAIN)
    assert len(json.dumps(document)) < 200 * 40


def graph_layers(count: int) -> list[list[StorePath]]:
    """Return up to 2000 paths with the names of real ones, in layers of twenty."""
    names = sorted({info.path.name for path in GRAPHS.glob("*") if path.suffix == ".gz"
                    for info in read_graph(path)})  # fmt: skip
    paths = [
        StorePath(f"/nix/store/{base32_encode(hashlib.sha256(name.encode()).digest()[:20])}-{name}")
        for name in random.Random(1).sample(names, count)
    ]
    return [sorted(paths[at : at + 20], key=name_then_path) for at in range(0, count, 20)]


@pytest.mark.slow
def test_2000_paths_take_less_than_32_kib() -> None:
    layers = graph_layers(2000)
    paths = [path for layer in layers for path in layer]
    counts = {
        key: ChangeCounts(90 - i % 7, i % 4) for i, key in enumerate(package_keys(paths[:99]))
    }
    history = PlanHistory.of(90, 30, counts)
    document = memory_document(layers, history, CHAIN)
    text = json.dumps(document)
    assert len(text) < 32 << 10
    plan = parse_memory(json.loads(text), CHAIN).completed(paths)
    assert plan == PreviousPlan(tuple(map(tuple, layers)), history)


def many() -> dict[str, Any]:
    layers = [[store_path(f"package-{i}"), store_path(f"tool-{i}")] for i in range(500)]
    document = memory_document(layers, HISTORY, CHAIN)
    assert document is not None
    return {**document}


def test_many_paths_are_packed() -> None:
    document = many()
    assert (document["layers"], document["counts"]) == ([], {})
    plan = parse_memory(document, CHAIN)
    assert [path.name for path in plan.layers[7]] == ["package-7", "tool-7"]
    assert plan.history == HISTORY
    size = len(json.dumps(document, separators=(",", ":")))
    layers = [[store_path(f"package-{i}"), store_path(f"tool-{i}")] for i in range(500)]
    assert memory_document(layers, HISTORY, CHAIN, most=size) == document
    assert memory_document(layers, HISTORY, CHAIN, most=size - 1) == memory(layers=[])


def damaged_packs() -> list[str]:
    hashes, text = many()["packed"].split(" ")
    other = pack_memory([[("00000000", "x"), ("00000000", "x")]], {})
    # A rate of counts like these is a division by zero.
    negative = pack_memory([[("00000000", "x")]], {"x": ChangeCounts(-20, -20)})
    return [
        hashes,
        f"{hashes} ",
        f"{hashes} {text} ",
        f"{hashes[:-5]} {text}",
        f"{hashes}00000 {text}",
        f"{hashes} {text[:-20]}",
        f'{hashes[:-1]}" {text}',
        f"{text} {hashes}",
        "é é",
        other,
        negative,
    ]


@pytest.mark.parametrize("number", range(11))
def test_damaged_packed_ones_are_refused(number: int) -> None:
    with pytest.raises(LayeringError):
        parse_memory({**many(), "packed": damaged_packs()[number]}, CHAIN)


def test_hostile_ones_take_no_more_memory_than_an_image_could_need() -> None:
    # Each store path is read with the store directory, which is stated once.
    layers = [" ".join(["12345678-x"] * 100)]
    with pytest.raises(LayeringError, match="store: Expected `str` of length <= 4096"):
        parse_memory(memory(store=f"/{'a' * 4096}", layers=layers), CHAIN)
    with pytest.raises(LayeringError, match="is larger than 131072 bytes"):
        parse_memory(memory(layers=[f"12345678-{'x' * MOST_MEMORY}"]), CHAIN)
    hashes, text = many()["packed"].split(" ")
    with pytest.raises(LayeringError, match="packed: it has too much or too little"):
        parse_memory({**many(), "packed": f"{hashes[:-25]} {text}"}, CHAIN)


def test_it_is_refused_for_other_layers() -> None:
    other = f"sha256:{'1' * 64}"
    with pytest.raises(LayeringError, match="is that of another image") as error:
        parse_memory(memory(), other)
    assert (error.value.key, error.value.digest) == ("chain_id", other)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        [],
        {},
        memory(version=2),
        memory(chain_id=None),
        memory(store=""),
        memory(layers="x"),
        memory(layers=[""]),
        memory(layers=["x"]),
        memory(layers=["12345678-"]),
        memory(layers=["../../../x-y"]),
        memory(layers=["123456789-x"]),
        memory(layers=["12345678-x", "12345678-x"]),
        memory(layers=["12345678-x  12345678-y"]),
        memory(steps=-1),
        memory(steps=1, app_only=2),
        memory(counts={"a": [1]}),
        memory(counts={"a": [1, 2]}),
    ],
)
def test_damaged_ones_are_refused(value: Any) -> None:
    with pytest.raises(LayeringError):
        parse_memory(value, CHAIN)
