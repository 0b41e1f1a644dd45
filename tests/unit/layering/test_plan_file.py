"""Plan files and the labels of earlier versions, and the errors that they may have."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.errors import LayeringError
from nixdock.layering import LayerPlan
from nixdock.layering.plan_file import parse_plan, plan_document
from nixdock.layering.plan_history import NEVER_SEEN, ChangeCounts, PlanHistory, PreviousPlan
from nixdock.layering.plan_label import parse_plan_label
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, closure_of, edges, node_sets, store_path

CLOSURE = closure_of(edges("app->lib; lib->libc; data"))
LAYERS = tuple(
    tuple(store_path(name) for name in layer) for layer in (["libc"], ["lib", "data"], ["app"])
)
HISTORY = PlanHistory(7, 3, {"app": ChangeCounts(7, 6), "data": ChangeCounts(2, 0)})
PLAN = replace(LayerPlan.of(CLOSURE, LAYERS), history=HISTORY)

histories = st.integers(0, 50).flatmap(
    lambda steps: st.builds(
        PlanHistory.of,
        st.just(steps),
        st.integers(0, steps),
        st.dictionaries(
            st.text(max_size=9),
            st.integers(0, steps).flatmap(
                lambda seen: st.builds(ChangeCounts, st.just(seen), st.integers(0, seen))
            ),
        ),
    )
)


def document(**changes: Any) -> bytes:
    return orjson.dumps(plan_document(PLAN, "stable", PLAN.history) | changes)


def test_a_plan_file_is_for_people() -> None:
    assert plan_document(PLAN, "stable", HISTORY) == {
        "version": 1,
        "strategy": "stable",
        "layers": [
            {"paths": [store_path("libc")], "nar_size": 1},
            {"paths": [store_path("lib"), store_path("data")], "nar_size": 2},
            {"paths": [store_path("app")], "nar_size": 1},
        ],
        "history": {
            "steps": 7,
            "app_only": 3,
            "counts": {"app": {"seen": 7, "changed": 6}, "data": {"seen": 2, "changed": 0}},
        },
    }


def test_removed_paths_are_in_the_file() -> None:
    lib = store_path("lib")
    plan = LayerPlan.of(
        CLOSURE, [[store_path("app"), store_path("libc"), store_path("data")]], frozenset([lib])
    )
    file = plan_document(plan, "pipeline", None)
    assert file["removed"] == [lib]
    assert "history" not in file
    (layer,) = parse_plan(orjson.dumps(file), "x").layers
    assert lib not in layer


LABEL = {
    "version": 1,
    "store": "/nix/store",
    "layers": [[path.base_name for path in layer] for layer in LAYERS],
    "steps": 7,
    "app_only": 3,
    "counts": {"app": [7, 6], "data": [2, 0]},
}


def test_files_and_labels_are_read_back() -> None:
    assert parse_plan(document(), "x") == PreviousPlan(LAYERS, HISTORY)
    assert parse_plan_label(json.dumps(LABEL)) == PreviousPlan(LAYERS, HISTORY)
    assert parse_plan_label(json.dumps(LABEL | {"layers": []})) == PreviousPlan((), HISTORY)


@given(node_sets(), histories)
def test_any_plan_is_read_back(nodes: Nodes, history: PlanHistory) -> None:
    closure = closure_of(nodes)
    layers = tuple((path,) for path in reversed([*closure.infos]))
    plan = replace(LayerPlan.of(closure, layers), history=history)
    found = PreviousPlan(layers, history)
    assert parse_plan(orjson.dumps(plan_document(plan, "stable", history)), "x") == found


def test_a_plan_without_history_is_read_with_none() -> None:
    plan = LayerPlan.of(CLOSURE, LAYERS)
    found = parse_plan(orjson.dumps(plan_document(plan, "auto", plan.history)), "x")
    assert found == PreviousPlan(LAYERS) == PreviousPlan(LAYERS, PlanHistory(0, 0, {}))


def test_a_label_is_no_longer_than_those_that_were_written() -> None:
    with pytest.raises(LayeringError, match="longer than 49152 characters"):
        parse_plan_label(json.dumps(LABEL | {"more": "x" * (48 << 10)}))
    with pytest.raises(LayeringError, match="store: Expected `str` of length <= 4096"):
        parse_plan_label(json.dumps(LABEL | {"store": f"/{'a' * 4096}"}))


def test_another_store_is_kept() -> None:
    other = StorePath.parse(f"/gnu/store/{'a' * 32}-x")
    text = json.dumps(LABEL | {"layers": [[other, LAYERS[0][0].base_name]]})
    assert parse_plan_label(text).layers == ((other, LAYERS[0][0]),)


def test_implied_counts_are_not_kept() -> None:
    counts = {"z": ChangeCounts(4, 1), "usual": ChangeCounts(4, 0), "a": NEVER_SEEN}
    history = PlanHistory.of(4, 1, counts)
    assert list(history.counts) == ["a", "z"]
    assert {key: history.of_package(key) for key in counts} == counts


def test_a_plan_with_history_can_be_in_a_set() -> None:
    assert len({PLAN, replace(PLAN), replace(PLAN, history=PlanHistory())}) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[]", "is not a plan: Expected `object`, got `array`"),
        (b"{}", "is not a plan: Object missing required field `version`"),
        (b'{"version": "1"}', "version: Expected `int`, got `str`"),
        (document(version=2), "the plan has format 2, but this nixdock reads format 1"),
        (document(version=0), "the plan has format 0"),
        (b'{"version": 1}', "missing required field `layers`"),
        (document(layers={}), "layers: Expected `array`, got `object`"),
        (document(layers=[[]]), r"layers\[0\]: Expected `object`, got `array`"),
        (document(layers=[{"paths": []}]), r"layers\[0\].paths: .* length >= 1"),
        (document(layers=[{"paths": [1]}]), r"layers\[0\].paths\[0\]: .* got `int`"),
        (document(layers=[{"paths": ["/x"]}]), r"layers\[0\].paths\[0\]: '/x' is not a store path"),
        (
            document(layers=[{"paths": [LAYERS[0][0]]}, {"paths": [LAYERS[2][0], LAYERS[0][0]]}]),
            r"layers\[1\].paths\[1\]: /nix/store/\S+-libc is already in layers\[0\]",
        ),
        (
            document(layers=[{"paths": [LAYERS[0][0]] * 2}]),
            r"layers\[0\].paths\[1\]: /nix/store/\S+-libc is already in layers\[0\]",
        ),
        (document(history=[]), "history: Expected `object`"),
        (document(history={"steps": -1}), "history.steps: Expected `int` >= 0"),
        (document(history={"steps": 2**40}), "history.steps: "),
        (document(history={"steps": 2**31 - 1}), "history.steps: "),
        (document(history={"steps": 1.5}), "history.steps: "),
        (
            document(history={"steps": 1, "app_only": 2}),
            "history.app_only: 2 is more than history.steps, 1",
        ),
        (
            document(history={"steps": 1, "counts": {"a": {"seen": 2, "changed": 0}}}),
            r"history.counts\['a'\]: changed \(0\) must not exceed seen \(2\), nor .* \(1\)",
        ),
        (
            document(history={"steps": 3, "counts": {"a": {"seen": 1, "changed": 2}}}),
            r"history.counts\['a'\]: changed \(2\) must not exceed seen \(1\), nor .* \(3\)",
        ),
        (
            document(history={"counts": {"b": {"seen": 0, "changed": 0}, "a": {"seen": 1}}}),
            r"history.counts\['a'\]: .* missing required field `changed`",
        ),
    ],
)
def test_plans_that_are_wrong_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(LayeringError, match=rf"^image\.plan\.json:? .*{message}"):
        parse_plan(data, "image.plan.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "\udcff",
        '{"version":2}',
        '{"version":1,"store":"/nix/store","layers":[["x"]]}',
        '{"version":1,"store":"","layers":[["x"]]}',
        '{"version":1,"store":"/nix/store","layers":[[]]}',
        json.dumps({"version": 1, "store": "/nix/store", "layers": [[LAYERS[0][0]] * 2]}),
        '{"version":1,"store":"/nix/store","layers":[],"counts":{"a":[1]}}',
        '{"version":1,"store":"/nix/store","layers":[],"counts":{"a":[1,0]}}',
    ],
)
def test_labels_that_are_wrong_are_refused(text: str) -> None:
    with pytest.raises(LayeringError):
        parse_plan_label(text)


def test_errors_have_the_key_that_is_wrong() -> None:
    for data, key in (
        (document(version=2), "version"),
        (document(layers=[{"paths": ["/x"]}]), "layers[0].paths[0]"),
        (document(layers=[{"paths": [LAYERS[0][0]] * 2}]), "layers[0].paths[1]"),
        (document(history={"steps": 1, "app_only": 2}), "history.app_only"),
    ):
        with pytest.raises(LayeringError) as error:
            parse_plan(data, "x")
        assert error.value.key == key


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(LayeringError, match=r"^noise is not "):
        parse_plan(data, "noise")


def test_keys_that_a_later_nixdock_may_add_are_ignored() -> None:
    assert parse_plan(document(comment="hello"), "x") == PreviousPlan(LAYERS, HISTORY)
