"""The comparison of two sides, on small plans and images and on random plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.diff import Diff, Document, Side, SideLayer, Status
from nixdock.diff.comparison import compare_sides
from nixdock.diff.result import Cause
from nixdock.diff.side import SideKind
from nixdock.nix.store_path import StorePath
from tests.unit.closures import store_path

OLD_CONFIG = Document("sha256:old config", 100)
OLD_MANIFEST = Document("sha256:old manifest", 10)
NEW_CONFIG = Document("sha256:new config", 200)
NEW_MANIFEST = Document("sha256:new manifest", 20)


def paths(text: str) -> tuple[StorePath, ...]:
    """Parse "app:2 lib": names, each with an optional salt, which changes the path's hash."""
    return tuple(
        store_path(name, salt) for name, _, salt in (word.partition(":") for word in text.split())
    )


def plan(*layers: str) -> Side:
    """Return a plan with a layer of 1000 bytes for each path."""
    return Side(
        "a plan",
        SideKind.PLAN,
        tuple(SideLayer(i, paths(x), 1000 * len(x.split())) for i, x in enumerate(layers, 1)),
    )


def image(*layers: tuple[str, str, int]) -> Side:
    """Return an image of layers with a digest, store paths and a size."""
    return Side(
        "an image",
        SideKind.IMAGE,
        tuple(
            SideLayer(i, paths(text), size, f"blob {digest}", f"tar {digest}", "own files")
            for i, (digest, text, size) in enumerate(layers, 1)
        ),
        OLD_CONFIG,
        OLD_MANIFEST,
    )


def updated(side: Side) -> Side:
    return dataclasses.replace(side, config=NEW_CONFIG, manifest=NEW_MANIFEST)


def statuses(diff: Diff) -> list[str]:
    return [layer.status.value for layer in diff.layers]


def changes(diff: Diff, number: int) -> list[str]:
    return [str(change) for change in diff.layers[number - 1].changes]


def reasons(diff: Diff) -> dict[str, str | None]:
    return {found.path.name: found.reason for layer in diff.layers for found in layer.paths}


def counts(diff: Diff) -> dict[str, int]:
    return {status.value: count for status, count in diff.path_counts().items()}


def test_equal_sides_transfer_nothing() -> None:
    for side in (plan("libc", "lib app"), image(("a", "libc", 5), ("b", "", 7)), plan()):
        found = compare_sides(side, side)
        assert set(statuses(found)) <= {"kept"}
        assert not found.gone
        assert not found.unplanned
        assert found.transfers.registry.total == found.transfers.docker.total == 0


def test_an_app_is_updated() -> None:
    found = compare_sides(plan("libc", "wrapper app-1"), plan("libc", "wrapper app-2"))
    assert statuses(found) == ["kept", "new"]
    assert found.layers[1].old_layer == 2
    assert changes(found, 2) == ["app-2 is new, in place of app-1"]
    assert reasons(found) == {
        "libc": None,
        "wrapper": "its layer also holds app-2, which is new, in place of app-1",
        "app-2": None,
    }
    assert counts(found) == {"new": 1, "gone": 1, "kept": 2, "moved": 0}
    assert found.transfers.registry.document() == {
        "bytes": 2000,
        "layers": 1,
        "layer_bytes": 2000,
        "config_bytes": 0,
        "manifest_bytes": 0,
    }
    assert found.transfers.docker == found.transfers.containerd == found.transfers.registry
    (gone,) = found.gone
    assert (gone.layer.number, gone.new_layer) == (2, 2)
    assert [(p.path.name, p.status, p.layer) for p in gone.paths] == [
        ("wrapper", Status.KEPT, 2),
        ("app-1", Status.GONE, None),
    ]


def test_docker_fetches_all_layers_from_the_first_new_one() -> None:
    found = compare_sides(plan("libc", "lib", "tool", "app"), plan("libc", "lib:2", "tool", "app"))
    assert statuses(found) == ["kept", "new", "kept", "kept"]
    assert [layer.fetched for layer in found.layers] == [False, True, False, False]
    assert [layer.fetched_by_docker for layer in found.layers] == [False, True, True, True]
    assert found.transfers.registry.total == 1000
    assert found.transfers.docker.total == 3000
    assert found.transfers.docker.layers == 3
    assert changes(found, 2) == ["lib is new, in place of another build"]


def test_layers_at_another_position_have_moved() -> None:
    found = compare_sides(plan("a", "b", "c"), plan("b", "a", "c"))
    assert statuses(found) == ["moved", "moved", "kept"]
    assert [layer.old_layer for layer in found.layers] == [2, 1, 3]
    assert found.transfers.registry.total == 0
    assert found.transfers.docker.total == 3000
    assert counts(found) == {"new": 0, "gone": 0, "kept": 3, "moved": 0}


def test_layers_on_top_are_gone() -> None:
    found = compare_sides(plan("a", "b"), plan("a"))
    assert statuses(found) == ["kept"]
    assert [(gone.layer.number, gone.new_layer) for gone in found.gone] == [(2, None)]
    assert found.transfers.docker.total == 0
    assert counts(found) == {"new": 0, "gone": 1, "kept": 1, "moved": 0}


def test_a_store_path_moves_between_layers() -> None:
    found = compare_sides(plan("a b c", "d e"), plan("a b", "c d e"))
    assert statuses(found) == ["new", "new"]
    assert [layer.old_layer for layer in found.layers] == [1, 2]
    assert changes(found, 1) == ["c is in layer 2 now"]
    assert changes(found, 2) == ["c was in layer 1"]
    assert reasons(found) == {
        "a": "its layer also held c, which is in layer 2 now",
        "b": "its layer also held c, which is in layer 2 now",
        "c": "it was in layer 1",
        "d": "its layer also holds c, which was in layer 1",
        "e": "its layer also holds c, which was in layer 1",
    }
    assert counts(found) == {"new": 0, "gone": 0, "kept": 4, "moved": 1}


def test_a_gone_path_is_a_reason_and_so_is_the_order() -> None:
    found = compare_sides(plan("a b", "c d", "e"), plan("a", "d c", "e"))
    assert changes(found, 1) == ["b is gone"]
    assert reasons(found)["a"] == "its layer also held b, which is gone"
    assert changes(found, 2) == ["the same store paths in another order"]
    assert reasons(found)["c"] == "its layer has the same store paths in another order"


def test_a_layer_of_new_packages_replaces_none() -> None:
    found = compare_sides(plan("a"), plan("a", "b"))
    assert statuses(found) == ["kept", "new"]
    assert found.layers[1].old_layer is None
    assert [change.cause for change in found.layers[1].changes] == [Cause.NEW]


def test_a_layer_replaces_the_one_with_which_it_has_most_in_common() -> None:
    found = compare_sides(
        plan("x a", "b c d", "app-1 wrapper-1"), plan("b c x", "a d", "app-2 wrapper-2")
    )
    assert [layer.old_layer for layer in found.layers] == [2, 1, 3]


def test_documents_count_when_they_differ() -> None:
    old = image(("a", "libc", 5), ("b", "app", 7))
    registry = compare_sides(old, updated(old)).transfers.registry
    assert (registry.layers, registry.config_bytes, registry.manifest_bytes) == (0, 200, 20)
    assert registry.total == 220
    both = compare_sides(old, updated(image(("a", "libc", 5), ("c", "app:2", 8))))
    assert both.transfers.registry.total == 228
    assert both.transfers.docker.total == 228
    same_config = compare_sides(old, dataclasses.replace(updated(old), config=OLD_CONFIG))
    assert same_config.transfers.registry.total == 20


def test_images_are_compared_by_digest() -> None:
    old = image(("a", "libc", 5), ("b", "app", 7), ("c", "", 9))
    found = compare_sides(old, updated(image(("a", "libc", 5), ("x", "app", 8), ("y", "", 10))))
    assert statuses(found) == ["kept", "new", "new"]
    assert changes(found, 2) == ["the same store paths with different bytes"]
    assert reasons(found)["app"] == "its layer has the same store paths with different bytes"
    assert found.layers[2].old_layer == 3, (
        "layers without store paths are matched by their comments"
    )
    assert changes(found, 3) == ["different bytes"]
    assert found.transfers.registry.layer_bytes == 18


def test_a_new_layer_without_store_paths() -> None:
    """Nothing but the layer itself can be new in it, and it replaces none."""
    old = image(("a", "libc", 5))
    found = compare_sides(old, image(("a", "libc", 5), ("b", "", 9)))
    assert found.layers[1].old_layer is None
    assert changes(found, 2) == ["the layer is new"]


def test_a_blob_of_two_layers_is_fetched_once() -> None:
    old = image(("a", "libc", 5))
    found = compare_sides(old, updated(image(("x", "", 7), ("a", "libc", 5), ("x", "", 7))))
    assert found.transfers.registry.layers == 1
    assert found.transfers.registry.layer_bytes == 7
    assert found.transfers.docker.layer_bytes == 12


def test_a_docker_archive_is_compared_by_diff_ids() -> None:
    old = image(("a", "libc", 5), ("b", "app", 7))
    other = tuple(replace(layer, digest="another", size=100) for layer in old.layers)
    for one, two in (
        (dataclasses.replace(old, manifest=None), dataclasses.replace(old, layers=other)),
        (old, dataclasses.replace(old, layers=other, manifest=None)),
    ):
        found = compare_sides(one, two)
        assert statuses(found) == ["kept", "kept"]
        assert found.transfers.registry.layers == 0
    assert set(statuses(compare_sides(old, dataclasses.replace(old, layers=other)))) == {"new"}


def test_layers_without_store_paths_are_left_out_of_a_comparison_with_a_plan() -> None:
    built = image(("a", "libc", 5), ("b", "", 7), ("c", "app", 11))
    found = compare_sides(plan("libc", "app:1"), built)
    assert statuses(found) == ["kept", "new"]
    assert [layer.layer.number for layer in found.layers] == [1, 3]
    assert [layer.number for layer in found.unplanned] == [2]
    assert found.transfers.registry.layer_bytes == 11
    assert found.document()["size_of"] == "blob"
    back = compare_sides(built, plan("libc", "app:1"))
    assert [gone.layer.number for gone in back.gone] == [3]
    assert back.transfers.registry.layer_bytes == 1000
    assert back.document()["size_of"] == "nar"


def test_a_path_in_two_layers_counts_once() -> None:
    old = image(("a", "libc app", 5), ("b", "", 5))
    found = compare_sides(old, updated(image(("a", "libc app", 5), ("x", "app", 6))))
    assert counts(found) == {"new": 0, "gone": 0, "kept": 2, "moved": 0}
    assert [p.status for p in found.layers[1].paths] == [Status.MOVED]


@st.composite
def plans(draw: st.DrawFn) -> Side:
    """Draw a plan of few packages in two versions, so that two plans have much in common."""
    packages = draw(st.lists(st.integers(0, 9), unique=True))
    layers: list[list[str]] = [[] for _ in range(4)]
    for package in packages:
        version = draw(st.integers(1, 2))
        layers[draw(st.integers(0, 3))].append(f"p{package}-{version}")
    return plan(*(" ".join(layer) for layer in layers if layer))


@given(plans(), plans())
def test_every_layer_and_store_path_is_accounted_for(old: Side, new: Side) -> None:
    found = compare_sides(old, new)
    assert [layer.layer for layer in found.layers] == list(new.layers)
    old_layers = {layer.paths: layer for layer in old.layers}
    new_layers = {layer.paths for layer in new.layers}
    assert {gone.layer for gone in found.gone} == {
        layer for layer in old.layers if layer.paths not in new_layers
    }
    for layer in found.layers:
        known = old_layers.get(layer.layer.paths)
        assert (layer.status is Status.NEW) == layer.fetched == (known is None)
        # A new layer always has a reason, and an old one never.
        assert bool(layer.changes) == layer.fetched
        assert layer.fetched_by_docker or not layer.fetched
        assert [path.path for path in layer.paths] == list(layer.layer.paths)
        for path in layer.paths:
            assert (path.reason is None) == (path.status is Status.NEW or not layer.fetched)
    before, after = ({path for layer in side.layers for path in layer.paths} for side in (old, new))
    count = found.path_counts()
    assert count[Status.NEW] == len(after - before)
    assert count[Status.GONE] == len(before - after)
    assert count[Status.KEPT] + count[Status.MOVED] == len(after & before)
    replaced = [layer.old_layer for layer in found.layers if layer.old_layer]
    assert len(replaced) == len(set(replaced))
    registry, docker = found.transfers.registry, found.transfers.docker
    assert registry.total == sum(layer.layer.size for layer in found.layers if layer.fetched)
    assert docker.total >= registry.total


@given(plans(), plans())
def test_paths_gone_in_one_direction_are_new_in_the_other(old: Side, new: Side) -> None:
    there, back = compare_sides(old, new), compare_sides(new, old)
    assert there.path_counts()[Status.NEW] == back.path_counts()[Status.GONE]
    assert {gone.layer.paths for gone in there.gone} == {
        layer.layer.paths for layer in back.layers if layer.fetched
    }


@pytest.mark.parametrize("sides", [(plan("a b"), plan("b c")), (plan(), plan("a"))])
def test_the_keys_of_the_document(sides: Sequence[Side]) -> None:
    document = compare_sides(*sides).document()
    keys = {"old", "new", "compared_by", "size_of", "transfers", "paths", "layers", "gone"}
    assert document.keys() == keys | {"unplanned"}
    assert document["transfers"].keys() == {"registry", "containerd", "docker"}
    for layer in document["layers"]:
        assert {"layer", "status", "size", "fetched", "fetched_by_docker", "paths"} <= layer.keys()


@pytest.mark.slow
def test_thousands_of_paths_that_all_move() -> None:
    names = [f"p{i}-1" for i in range(20_000)]
    old = plan(*(" ".join(names[i::99]) for i in range(99)))
    new = plan(*(" ".join(names[i * 200 : i * 200 + 200]) for i in range(100)))
    found = compare_sides(old, new).path_counts()
    assert found[Status.NEW] == found[Status.GONE] == 0
    assert found[Status.KEPT] < 99 * 3 < found[Status.MOVED]
