"""The explicit strategy: the user's groups, and another strategy for the other paths."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.errors import LayeringError, PlanError
from nixdock.layering import LayeringOptions, LayerPlan, parse_groups
from nixdock.layering.auto import plan_auto
from nixdock.layering.explicit import contract
from nixdock.layering.options import Group
from nixdock.layering.pipeline.parse import parse_pipeline
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.strategies import planner
from nixdock.nix.closure import Closure
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, closure_of, edges, names, node_sets, store_path, tied

APP = edges("app->lib,env; env->python,numpy; numpy->python,blas; python->libc; lib->libc; blas")


def paths(*texts: str) -> tuple[StorePath, ...]:
    return tuple(store_path(text) for text in texts)


def plan(nodes: Nodes, budget: int, *groups: Group, rest: str = "popularity") -> LayerPlan:
    return planner("explicit")(closure_of(nodes), budget, LayeringOptions(groups=groups, rest=rest))


def test_groups_are_at_the_bottom_in_their_order() -> None:
    found = plan(APP, 4, Group(paths("numpy", "blas")), Group(paths("libc")))
    assert names(found)[:2] == [["blas", "numpy"], ["libc"]]
    assert sum(map(len, names(found))) == 7
    assert len(found.layers) == 4


def test_a_group_may_be_a_closure() -> None:
    found = plan(APP, 2, Group(closure_of=paths("env")))
    assert names(found) == [["blas", "env", "libc", "numpy", "python"], ["lib", "app"]]
    both = plan(APP, 2, Group(paths("app"), closure_of=paths("lib")))
    assert names(both)[0] == ["app", "lib", "libc"]


def test_a_path_in_two_groups_is_in_the_first() -> None:
    found = plan(APP, 5, Group(closure_of=paths("python")), Group(closure_of=paths("env")))
    assert names(found)[:2] == [["libc", "python"], ["blas", "env", "numpy"]]
    # The second group has nothing left: it is no layer.
    found = plan(APP, 2, Group(closure_of=paths("env")), Group(paths("libc")))
    assert names(found)[0] == ["blas", "env", "libc", "numpy", "python"]


def test_the_groups_may_be_everything() -> None:
    assert names(plan(APP, 1, Group(closure_of=paths("app")))) == [sorted(APP)]
    assert planner("explicit")(Closure.of(()), 1, LayeringOptions(groups=(Group(),))).layers == ()


def test_without_groups_it_is_the_other_strategy() -> None:
    closure = closure_of(APP)
    options = LayeringOptions(rest="auto")
    assert planner("explicit")(closure, 3, options).layers == plan_auto(closure, 3).layers


def test_grouped_paths_outside_the_closure_are_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        found = plan(
            APP, 3, Group(paths("libc")), Group(paths("gone", "app"), closure_of=paths("away"))
        )
    assert names(found)[:2] == [["libc"], ["app"]]
    assert len(found.layers) == 3
    (record,) = caplog.records
    assert record.getMessage() == (
        "ignoring grouped paths that are not in the closure:"
        f" {store_path('gone')} in group 2 (and 1 more)"
    )


def test_too_many_groups_are_an_error_with_the_figures() -> None:
    groups = [Group(paths(name)) for name in ("libc", "lib", "app")]
    with pytest.raises(PlanError) as error:
        plan(APP, 3, *groups)
    assert str(error.value) == (
        "3 groups and the 4 store paths left over need at least 4 layers, but there is"
        " room for 3: merge groups or raise max_layers"
    )
    with pytest.raises(PlanError, match=r"^3 groups need at least 3 layers, but .* for 2: "):
        plan(edges("libc; lib; app"), 2, *groups)


def test_the_rest_can_not_be_explicit() -> None:
    with pytest.raises(LayeringError, match="choose the strategy for the paths outside the groups"):
        plan(APP, 3, rest="explicit")


def test_the_rest_may_be_a_pipeline() -> None:
    remove = ["remove_paths", [str(store_path("blas"))]]
    options = LayeringOptions(
        groups=(Group(paths("libc")),),
        rest="pipeline",
        pipeline=parse_pipeline([remove, ["split_paths", [str(store_path("env"))]]]),
    )
    found = planner("explicit")(closure_of(APP), 3, options)
    assert names(found) == [["libc"], ["env", "numpy", "python"], ["app", "lib"]]
    assert found.removed == set(paths("blas"))


def test_references_pass_through_grouped_paths() -> None:
    closure = closure_of(APP)
    rest = contract(closure, frozenset(paths("env", "numpy")))
    references = {info.path.name: {r.name for r in info.references} for info in rest}
    assert references == {
        "app": {"lib", "python", "blas"},
        "lib": {"libc"},
        "python": {"libc"},
        "libc": set(),
        "blas": set(),
    }


@given(node_sets(20), st.data())
def test_contracting_keeps_reachability(nodes: Nodes, data: st.DataObject) -> None:
    closure = closure_of(nodes)
    removed = data.draw(st.sets(st.sampled_from(list(closure.infos))))
    rest = contract(closure, frozenset(removed))

    def reached(of: Closure, start: StorePath) -> set[StorePath]:
        found = {start}
        waiting = [start]
        while waiting:
            new = set(of[waiting.pop()].references) - found
            found |= new
            waiting += new
        return found

    assert set(rest.infos) == set(closure.infos) - removed
    for path in rest.infos:
        assert reached(rest, path) == reached(closure, path) - removed


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("x", "groups: must be a list of groups, not 'x'"),
        ([1], "groups[0]: must be a list of store paths, not 1"),
        ([[], ["x"]], "groups[1][0]: 'x' is not a store path"),
        ([{"path": []}], "groups[0]: unknown key 'path'; the keys are paths and closure_of"),
        ([{"closure_of": ["/x"]}], "groups[0].closure_of[0]: '/x' is not a store path"),
        ([{"paths": "/x"}], "groups[0].paths: must be a list of store paths, not '/x'"),
    ],
)
def test_bad_groups_say_where(groups: object, message: str) -> None:
    with pytest.raises(LayeringError) as error:
        parse_groups(groups)
    assert str(error.value).startswith(message)
    assert error.value.key == message.partition(":")[0]


def test_groups_from_json() -> None:
    one, two = paths("one", "two")
    assert parse_groups([[str(one)], {"closure_of": [str(two)]}, {}]) == (
        Group(paths=(one,)),
        Group(closure_of=(two,)),
        Group(),
    )


def test_the_rest_remembers_the_previous_plan() -> None:
    nodes = tied(200)
    groups = (Group(paths("p00100", "p00101")), Group(closure_of=paths("p00180")))
    closure = closure_of(nodes)
    options = LayeringOptions(groups=groups)
    first = planner("explicit")(closure, 30, options)
    previous = PreviousPlan(tuple(layer.paths for layer in first.layers), PlanHistory())
    again = planner("explicit")(closure, 30, replace(options, previous=previous))
    assert again.layers == first.layers
    assert again.history is not None
    # The root is rebuilt: layers without it stay, and those below its layer in their places.
    rebuilt = Closure.of(
        replace(info, path=store_path("p00000", "new")) if info.path.name == "p00000" else info
        for info in closure
    )
    found = planner("explicit")(rebuilt, 30, replace(options, previous=previous))
    kept = [layer for layer in first.layers if store_path("p00000") not in layer.paths]
    assert set(kept) <= set(found.layers)
    broken = next(n for n, layer in enumerate(first.layers) if layer not in kept)
    assert found.layers[:broken] == first.layers[:broken]
    assert broken >= 2


@pytest.mark.slow
def test_large_graphs() -> None:
    closure = closure_of(tied(20_000))
    middle = store_path("p10000")
    options = LayeringOptions(groups=(Group(closure_of=(middle,)),), rest="auto")
    assert 2 < len(planner("explicit")(closure, 60, options).layers) <= 60
