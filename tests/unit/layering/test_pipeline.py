"""Pipelines: dockerTools' operations and results, with fewer failures and clear errors."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import LayeringError, PlanError
from nixdock.layering import LayeringOptions, LayerPlan
from nixdock.layering.pipeline.graph import Data, Graph
from nixdock.layering.pipeline.parse import parse_pipeline, read_pipeline
from nixdock.layering.pipeline.planning import plan_by_pipeline, trace
from nixdock.nix.closure import Closure
from tests.unit.closures import (
    Nodes,
    chain_of,
    closure_of,
    edges,
    names,
    node_sets,
    store_path,
    tied,
)

T = edges("Root1->A; A->B,D; D->E; B->D,F; Root2->B; Root3->C; X")
U = edges("Root1->A; A->B,C; B->D,E; Root2->B; Root3->C; X")
PIPE = edges("Root1->A; A->B,C; B->D,E,G; E->F; Root2->B; Root3->C")
POPULAR = edges("Root1->A; A->B; Root2")
SIZED = edges("A->C; B->C,D", A=2, B=4, C=6, D=8)

NAMES = {"A", "B", "C", "D", "E", "F", "G", "X", "Root1", "Root2", "Root3", "gone"}


def with_paths(value: Any, salt: str = "") -> Any:
    """Replace the names in `value` by store paths."""
    if isinstance(value, str):
        return str(store_path(value, salt)) if value in NAMES else value
    if isinstance(value, dict):
        return {key: with_paths(item, salt) for key, item in value.items()}
    return [with_paths(item, salt) for item in value] if isinstance(value, list) else value


def run(nodes: Nodes, *operations: Any, budget: int = 120) -> LayerPlan:
    pipeline = parse_pipeline(with_paths(list(operations)))
    return plan_by_pipeline(closure_of(nodes), budget, LayeringOptions(pipeline=pipeline))


def applied(nodes: Nodes, operation: Any) -> Data:
    (parsed,) = parse_pipeline(with_paths([operation]))
    return parsed.apply(Graph.of(closure_of(nodes)))


def parts(nodes: Nodes, operation: Any) -> dict[str, str]:
    """Return the graphs by name, each as sorted text of its edges and lone nodes."""
    found = applied(nodes, operation)
    assert isinstance(found, dict)
    return {name: text_of(graph) for name, graph in found.items()}


def text_of(graph: Data) -> str:
    assert isinstance(graph, Graph)
    pairs = [(node, r) for node in graph.nodes for r in graph.references_of(node)]
    joined = {node for pair in pairs for node in pair}
    lone = [node.name for node in graph.nodes if node not in joined]
    return " ".join(sorted([*lone, *(f"{node.name}{r.name}" for node, r in pairs)]))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            ["B"],
            {"main": "BF", "common": "DE", "rest": "Root1A Root2 Root3C X"},
        ),
        (
            ["B", "Root3"],
            {"main": "BF Root3C", "common": "DE", "rest": "Root1A Root2 X"},
        ),
        (["D"], {"main": "DE", "rest": "AB BF Root1A Root2B Root3C X"}),
        ([], {"rest": "AB AD BD BF DE Root1A Root2B Root3C X"}),
        (["gone"], {"rest": "AB AD BD BF DE Root1A Root2B Root3C X"}),
        ({"children_of": "A"}, {"main": "BD BF DE", "rest": "Root1A Root2 Root3C X"}),
        ({"children_of": ["Root2", "gone"]}, None),
    ],
)
def test_split_paths(paths: Any, expected: dict[str, str] | None) -> None:
    if expected is None:
        expected = parts(T, ["split_paths", ["B"]])
    assert parts(T, ["split_paths", paths]) == expected


def test_split_paths_by_a_root() -> None:
    assert parts(POPULAR, ["split_paths", ["Root1", "Root2"]]) == {"main": "AB Root1A Root2"}
    assert parts(edges("Root1->A; A->B"), ["split_paths", ["Root1"]]) == {"main": "AB Root1A"}
    assert parts(edges("Root1->A"), ["split_paths", ["Root1", "A"]]) == {"main": "Root1A"}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            ["subcomponent_out", ["B"]],
            {"main": "BD BE", "rest": "AC Root1A Root2 Root3C X"},
        ),
        (
            ["subcomponent_out", ["B", "Root3"]],
            {"main": "BD BE Root3C", "rest": "Root1A Root2 X"},
        ),
        (["subcomponent_in", ["B"]], {"main": "AB Root1A Root2B", "rest": "D E Root3C X"}),
        (
            ["subcomponent_in", ["B", "Root3"]],
            {"main": "AB Root1A Root2B Root3", "rest": "C D E X"},
        ),
        (["subcomponent_out", []], {"main": "", "rest": "AB AC BD BE Root1A Root2B Root3C X"}),
        (["subcomponent_in", ["gone"]], {"main": "", "rest": "AB AC BD BE Root1A Root2B Root3C X"}),
    ],
)
def test_subcomponents(operation: Any, expected: dict[str, str]) -> None:
    assert parts(U, operation) == expected


def test_the_empty_graph() -> None:
    for operation, keys in (
        (["split_paths", ["B"]], ["rest"]),
        (["subcomponent_in", ["B"]], ["main", "rest"]),
        (["subcomponent_out", ["B"]], ["main", "rest"]),
    ):
        assert list(parts({}, operation)) == keys
    for tail in ([], [["popularity_contest"], ["limit_layers", 3]], [["split_every", 2]]):
        assert run({}, *tail).layers == ()


@pytest.mark.parametrize(
    ("nodes", "pipeline", "expected"),
    [
        (
            PIPE,
            [
                ["split_paths", ["B"]],
                [
                    "over",
                    "main",
                    [
                        "pipe",
                        [["subcomponent_in", ["B"]], ["over", "rest", ["popularity_contest"]]],
                    ],
                ],
                ["flatten"],
                ["map", ["remove_paths", "Root3"]],
                ["limit_layers", 5],
            ],
            [["B"], ["F"], ["D"], ["E"], ["G", "A", "C", "Root1", "Root2"]],
        ),
        (POPULAR, [["popularity_contest"]], [["B"], ["A"], ["Root1"], ["Root2"]]),
        (
            POPULAR,
            [["popularity_contest"], ["limit_layers", 3]],
            [["B"], ["A"], ["Root1", "Root2"]],
        ),
        (
            POPULAR,
            [["popularity_contest"], ["reverse"], ["limit_layers", 3]],
            [["Root2"], ["Root1"], ["A", "B"]],
        ),
        (SIZED, [["split_paths", ["B"]]], [["B", "D"], ["C"], ["A"]]),
        (
            SIZED,
            [["split_paths", ["B"]], ["over", "main", ["subcomponent_in", ["B"]]]],
            [["B"], ["D"], ["C"], ["A"]],
        ),
        (SIZED, [["split_every", 3]], [["A", "B", "C"], ["D"]]),
        (SIZED, [["split_every", 1], ["limit_layers", 1]], [["A", "B", "C", "D"]]),
        (SIZED, [["pipe", []]], [["A", "B", "C", "D"]]),
        (SIZED, [["remove_paths", ["C", "gone"]]], [["A", "B", "D"]]),
        (SIZED, [["remove_paths", "C"], ["split_paths", ["B"]]], [["B", "D"], ["A"]]),
        (
            edges("A->B,C; B->C", A=2, B=4, C=6),
            [["split_paths", ["B"]]],
            [["B"], ["C"], ["A"]],
        ),
    ],
)
def test_pipelines(nodes: Nodes, pipeline: list[Any], expected: list[list[str]]) -> None:
    found = names(run(nodes, *pipeline))
    if nodes is POPULAR:
        found = [sorted(layer) for layer in found]
    assert found == expected


def test_limit_of_one_graph_is_that_graph() -> None:
    assert names(run(SIZED, ["flatten"], ["limit_layers", 1])) == [["A", "B", "C", "D"]]


def test_a_merged_graph_has_no_references_between_its_parts() -> None:
    found = run(
        edges("A->B; B->C", A=1, B=2, C=3),
        ["split_every", 1],
        ["limit_layers", 2],
        ["map", ["subcomponent_out", ["B"]]],
    )
    assert names(found) == [["A"], ["B"], ["C"]]
    found = run(
        edges("A->B; B->C", A=1, B=2, C=3),
        ["split_every", 2],
        ["reverse"],
        ["limit_layers", 1],
        ["map", ["subcomponent_out", ["A"]]],
    )
    assert names(found) == [["A", "B"], ["C"]]


def test_reorder() -> None:
    nodes = edges("Root1->A; A->B; B->D")
    out = ["subcomponent_out", ["B"]]
    assert names(run(nodes, out, ["flatten"])) == [["B", "D"], ["A", "Root1"]]
    assert names(run(nodes, out, ["reorder", ["rest", "main"]])) == [["A", "Root1"], ["B", "D"]]
    assert names(run(nodes, out, ["reorder", ["none", "rest"]])) == [["A", "Root1"], ["B", "D"]]


def test_some_pipelines_that_fail_in_dockertools_work() -> None:
    assert names(run(SIZED)) == [["A", "B", "C", "D"]]
    gone = [["split_paths", ["gone"]], ["over", "main", ["popularity_contest"]]]
    assert names(run(SIZED, *gone)) == [["A", "B", "C", "D"]]
    # Empty layers are left out: the last of five, and a part to which nothing is split off.
    assert len(run(SIZED, ["split_every", 1], ["limit_layers", 5]).layers) == 4
    assert len(run(SIZED, ["subcomponent_out", ["gone"]]).layers) == 1
    assert run(SIZED, ["remove_paths", ["A", "B", "C", "D"]]).layers == ()


def test_removed_paths_are_in_the_plan_but_in_no_layer() -> None:
    plan = run(SIZED, ["split_every", 2], ["map", ["remove_paths", ["A", "C"]]])
    assert names(plan) == [["B"], ["D"]]
    assert plan.removed == {store_path("A"), store_path("C")}
    assert [layer.nar_size for layer in plan.layers] == [4, 8]


def test_a_text_that_is_no_store_path_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert names(run(SIZED, ["remove_paths", ["/bin/x", "D"]])) == [["A", "B", "C"]]
    (record,) = caplog.records
    assert record.getMessage().startswith("pipeline[0].remove_paths[0]: '/bin/x' is not a store")


OVER = ["over", "main", ["pipe", [["flatten"], ["map", ["split_every", -1]]]]]


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ({}, "pipeline: must be a list of operations, not {}"),
        (None, "pipeline: must be a list of operations, not null"),
        ([["flatten"], []], "pipeline[1]: an operation is a list of its name and its arguments"),
        (["flatten"], 'pipeline[0]: an operation is a list of its name and its arguments, not "fl'),
        ([[1]], "pipeline[0]: an operation is a list of its name and its arguments, not [1]"),
        (
            [["flat"]],
            "pipeline[0]: there is no operation 'flat'; choose from flatten, limit_layers",
        ),
        ([["flatten", 1]], "pipeline[0].flatten: takes no arguments, but has 1 argument"),
        ([["flatten"]] * 2 + [["over", "x"]], "pipeline[2].over: takes name, operation, but has 1"),
        ([["limit_layers"]], "pipeline[0].limit_layers: takes count, but has no arguments"),
        ([["limit_layers", 0]], "pipeline[0].limit_layers: expected a positive whole number"),
        ([["limit_layers", True]], "pipeline[0].limit_layers: expected a positive whole number"),
        ([["limit_layers", 2.5]], "pipeline[0].limit_layers: expected a positive whole number"),
        ([OVER], "pipeline[0].over.main.pipe[1].map.split_every: expected a positive whole"),
        ([["over", 1, ["flatten"]]], "pipeline[0].over: expected a name, such as"),
        ([["over", "x", "flatten"]], "pipeline[0].over.x: an operation is a list"),
        ([["pipe", "flatten"]], "pipeline[0].pipe: must be a list of operations"),
        ([["remove_paths", {}]], "pipeline[0].remove_paths: expected a list of store paths, not"),
        ([["remove_paths", [1]]], "pipeline[0].remove_paths[0]: expected a store path, not 1"),
        ([["split_paths", {"x": 1}]], "pipeline[0].split_paths: the only key must be children_of"),
        (
            [["split_paths", {"children_of": 1}]],
            "pipeline[0].split_paths.children_of: expected a list of store paths, not 1",
        ),
        ([["reorder", "main"]], "pipeline[0].reorder: expected a list of names"),
        ([["reorder", ["main", 1]]], "pipeline[0].reorder[1]: expected a name"),
    ],
)
def test_mistakes_are_found_before_anything_runs(pipeline: Any, message: str) -> None:
    with pytest.raises(LayeringError) as error:
        parse_pipeline(pipeline)
    assert str(error.value).startswith(message)
    assert error.value.key == message.partition(":")[0]


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([["limit_layers", 2]], "limit_layers: takes a list, but gets a graph; use popularity_con"),
        ([["reverse"]], "reverse: takes a list, but gets a graph"),
        ([["over", "main", ["flatten"]]], "over: takes graphs by name, but gets a graph; use spl"),
        (
            [["split_paths", ["B"]], ["reverse"]],
            "reverse: takes a list, but gets graphs by name (main, common, rest); use flatten",
        ),
        (
            [["split_paths", ["B"]], ["popularity_contest"]],
            "popularity_contest: takes a graph, but gets graphs by name (main, common, rest)",
        ),
        (
            [["split_every", 1], ["remove_paths", ["B"]]],
            "remove_paths: takes a graph, but gets a list of graphs; use map",
        ),
        (
            [["split_every", 1], ["map", ["split_every", 1]], ["limit_layers", 2]],
            "limit_layers: takes a list of graphs, but gets a list that holds lists or graphs",
        ),
        ([["split_every", 1], ["reorder", []]], "reorder: takes graphs by name, but gets a list"),
    ],
)
def test_an_operation_on_the_wrong_kind_of_data_is_an_error_with_a_hint(
    pipeline: list[Any], message: str
) -> None:
    with pytest.raises(LayeringError) as error:
        run(SIZED, *pipeline)
    expected = f"pipeline[{len(pipeline) - 1}].{message}"
    assert str(error.value).startswith(expected)
    assert error.value.key == expected.partition(":")[0]


def test_more_layers_than_fit_are_an_error_with_the_figures() -> None:
    assert len(run(SIZED, ["split_every", 1], budget=4).layers) == 4
    with pytest.raises(PlanError, match=r"makes 4 store layers, but there is room for 3: .* 3\]"):
        run(SIZED, ["split_every", 1], budget=3)


def test_the_strategy_needs_a_pipeline() -> None:
    with pytest.raises(LayeringError, match="needs a pipeline"):
        plan_by_pipeline(closure_of(SIZED), 5)


def test_a_file() -> None:
    text = json.dumps([["split_every", 2]]).encode()
    assert read_pipeline(text, "x.json") == parse_pipeline([["split_every", 2]])
    with pytest.raises(LayeringError, match=r"^x.json is not valid JSON: "):
        read_pipeline(b"[", "x.json")
    with pytest.raises(LayeringError, match=r"^x.json: pipeline\[0\]: there is no operation 'x'"):
        read_pipeline(b'[["x"]]', "x.json")


def nested(depth: int) -> list[Any]:
    """Return a pipeline whose operations are nested `depth` times, each in the rest of the last."""
    names_ = [f"p{i:05}" for i in range(depth)]
    found: Any = ["flatten"]
    for name in names_:
        split = ["split_paths", [str(store_path(name))]]
        found = ["pipe", [split, ["over", "rest", found]]]
    return [found]


def test_deeply_nested_pipelines_work_or_are_an_error() -> None:
    closure = closure_of(chain_of(300))
    options = LayeringOptions(pipeline=parse_pipeline(nested(124)))
    assert len(plan_by_pipeline(closure, 124, options).layers) == 124
    with pytest.raises(LayeringError, match="nested too deeply"):
        parse_pipeline(nested(2000))


@pytest.mark.slow
def test_large_graphs() -> None:
    for nodes in (chain_of(20_000), tied(20_000)):
        closure = closure_of(nodes)
        middle = str(store_path("p10000"))
        pipeline = [
            ["split_paths", [middle]],
            ["over", "main", ["pipe", [["popularity_contest"], ["limit_layers", 50]]]],
            ["over", "rest", ["subcomponent_in", [str(store_path("p05000"))]]],
        ]
        options = LayeringOptions(pipeline=parse_pipeline(pipeline))
        assert 2 < len(plan_by_pipeline(closure, 124, options).layers) <= 53


def test_where_a_path_goes() -> None:
    options = LayeringOptions(
        pipeline=parse_pipeline(
            with_paths(
                [
                    ["split_paths", ["B"]],
                    ["over", "main", ["split_every", 1]],
                    ["flatten"],
                    ["map", ["remove_paths", "A"]],
                ]
            )
        )
    )
    closure = closure_of(SIZED)
    assert list(trace(closure, options, store_path("D"))) == [
        "pipeline[0].split_paths puts it into main, with 1 other",
        "pipeline[1].over puts it into main[1], alone",
        "pipeline[2].flatten puts it into [1], alone",
    ]
    assert list(trace(closure, options, store_path("A"))) == [
        "pipeline[0].split_paths puts it into rest, alone",
        "pipeline[2].flatten puts it into [3], alone",
        "pipeline[3].map removes it",
    ]


GRAPH_OPERATIONS = st.sampled_from(
    [
        ["popularity_contest"],
        ["split_every", 2],
        ["split_paths", ["p01", "p02"]],
        ["split_paths", {"children_of": ["p03"]}],
        ["subcomponent_in", ["p01"]],
        ["subcomponent_out", ["p01"]],
        ["pipe", [["split_every", 3], ["reverse"], ["limit_layers", 2]]],
        ["pipe", [["popularity_contest"], ["reverse"], ["limit_layers", 4]]],
    ]
)


@given(node_sets(12), GRAPH_OPERATIONS, GRAPH_OPERATIONS, st.integers(1, 5))
def test_nothing_is_lost_and_nothing_doubled(
    nodes: Nodes, first: Any, second: Any, most: int
) -> None:
    def paths(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: paths(item) for key, item in value.items()}
        if isinstance(value, list):
            return [paths(item) for item in value]
        return str(store_path(value)) if str(value).startswith("p0") else value

    pipeline = parse_pipeline(
        [paths(first), ["flatten"], ["map", paths(second)], ["flatten"], ["limit_layers", most]]
    )
    closure: Closure = closure_of(nodes)
    plan = plan_by_pipeline(closure, most, LayeringOptions(pipeline=pipeline))
    planned = [path for layer in plan.layers for path in layer.paths]
    assert sorted(planned) == list(closure.infos)
    assert plan.removed == frozenset()
