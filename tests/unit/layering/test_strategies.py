"""Properties of every strategy, and the options that choose one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import LayeringError, PlanError
from nixdock.layering import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    Layering,
    LayeringOptions,
    LayerPlan,
    layering_of,
)
from nixdock.layering.options import Group
from nixdock.layering.pipeline.parse import parse_pipeline
from nixdock.layering.strategies import planner
from nixdock.nix.closure import Closure
from tests.unit.closures import Nodes, chain_of, closure_of, names, node_sets, store_path, tied

ROOT = Path(__file__).parents[3]

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def layering(strategy: str, nodes: Nodes, budget: int, salt: str = "") -> Layering:
    """Return settings that make sense for any graph: a group, a pipeline, a volatile path."""
    first, last = (store_path(name, salt) for name in (min(nodes), max(nodes)))
    limited = [["popularity_contest"], ["reverse"], ["limit_layers", budget]]
    options = LayeringOptions(
        volatile=frozenset([last]),
        groups=(Group(paths=(first,)),) if budget > 1 else (),
        rest="auto",
        pipeline=parse_pipeline(limited),
    )
    return Layering(strategy, options)


def plan(strategy: str, nodes: Nodes, budget: int, salt: str = "") -> LayerPlan:
    return layering(strategy, nodes, budget, salt).plan(closure_of(nodes, salt), budget)


def check(plan: LayerPlan, closure: Closure, budget: int) -> None:
    planned = [path for layer in plan.layers for path in layer.paths]
    assert len(planned) == len(closure)
    assert set(planned) == set(closure.infos)
    assert 1 <= len(plan.layers) <= budget
    for layer in plan.layers:
        assert layer.paths
        assert layer.nar_size == sum(closure[path].nar_size for path in layer.paths)


@every_strategy
@settings(max_examples=40)
@given(nodes=node_sets(), budget=st.integers(1, 33))
def test_a_plan_is_a_partition_within_the_budget(strategy: str, nodes: Nodes, budget: int) -> None:
    check(plan(strategy, nodes, budget), closure_of(nodes), budget)


@pytest.mark.slow
@every_strategy
@pytest.mark.parametrize("budget", [1, 2, 24, 99, 124])
def test_graphs_with_hundreds_of_ties(strategy: str, budget: int) -> None:
    nodes = tied(600, seed=budget)
    check(plan(strategy, nodes, budget), closure_of(nodes), budget)


@every_strategy
@pytest.mark.parametrize("nodes", [{"one": (5, [])}, {"a": (0, ["b"]), "b": (0, [])}])
def test_tiny_graphs(strategy: str, nodes: Nodes) -> None:
    for budget in (1, 2, 99):
        check(plan(strategy, nodes, budget), closure_of(nodes), budget)


@every_strategy
@settings(max_examples=25)
@given(nodes=node_sets(), budget=st.integers(1, 20), rng=st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    strategy: str, nodes: Nodes, budget: int, rng: random.Random
) -> None:
    closure = closure_of(nodes)
    settled = layering(strategy, nodes, budget)
    infos = list(closure)
    shuffled = Closure.of(rng.sample(infos, len(infos)))
    assert settled.plan(shuffled, budget) == settled.plan(closure, budget)


@every_strategy
@settings(max_examples=25)
@given(nodes=node_sets(), budget=st.integers(1, 20), salt=st.text("ab", min_size=1))
def test_names_decide_and_not_hashes(strategy: str, nodes: Nodes, budget: int, salt: str) -> None:
    assert names(plan(strategy, nodes, budget, salt)) == names(plan(strategy, nodes, budget))


@pytest.mark.slow
@every_strategy
def test_names_decide_among_hundreds_of_ties(strategy: str) -> None:
    nodes = tied(400, seed=7)
    plans = [names(plan(strategy, nodes, 60, salt)) for salt in ("", "x", "y")]
    assert plans[0] == plans[1] == plans[2]


@pytest.mark.slow
@every_strategy
def test_a_chain_of_20_000_paths(strategy: str) -> None:
    nodes = chain_of(20_000)
    check(plan(strategy, nodes, 99), closure_of(nodes), 99)


SCRIPT = """
import json, sys
from tests.unit.closures import names, tied
from tests.unit.layering.test_strategies import plan
from nixdock.layering import STRATEGIES
print(json.dumps({s: names(plan(s, tied(300), 40)) for s in STRATEGIES}))
"""


@pytest.mark.slow
def test_the_hash_seed_does_not_matter() -> None:
    outputs = set()
    for seed in ("0", "1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        outputs.add(done.stdout)
    (output,) = outputs
    assert json.loads(output).keys() == set(STRATEGIES)


def test_a_strategy_that_does_not_exist() -> None:
    for call in (lambda: planner("best"), lambda: layering_of("best")):
        with pytest.raises(
            LayeringError, match="no layering strategy 'best'; choose from auto, ex"
        ):
            call()
    with pytest.raises(LayeringError, match="no layering strategy 'worst'") as error:
        layering_of("explicit", rest="worst")
    assert error.value.key == "rest"


def test_networkx_is_loaded_when_a_graph_is_needed() -> None:
    script = "import sys, nixdock.layering; print(*{'networkx'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_the_default() -> None:
    assert layering_of() == Layering()
    assert Layering().strategy == DEFAULT_STRATEGY
    assert DEFAULT_STRATEGY in STRATEGIES


def test_settings_from_json() -> None:
    one, two = store_path("one"), store_path("two")
    found = layering_of(
        "explicit",
        volatile=[str(one)],
        groups=[[str(two)]],
        rest="auto",
        pipeline=[["flatten"]],
    )
    assert found.strategy == "explicit"
    assert found.options.volatile == {one}
    assert found.options.groups == (Group(paths=(two,)),)
    assert found.options.rest == "auto"
    assert found.options.pipeline == parse_pipeline([["flatten"]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volatile": ["/x"]}, r"^volatile\[0\]: '/x' is not a store path"),
        ({"groups": [["/x"]]}, r"^groups\[0\]\[0\]: '/x' is not a store path"),
        ({"pipeline": [["x"]]}, r"^pipeline\[0\]: there is no operation 'x'"),
    ],
)
def test_wrong_settings_say_where(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LayeringError, match=message) as error:
        layering_of(**changes)
    assert error.value.key == str(error.value).partition(":")[0]


def test_a_pipeline_has_dockers_limit_only() -> None:
    assert Layering("auto").budget(100, 3, 2, most_layers=125) == 95
    assert Layering("pipeline").budget(100, 3, 2, most_layers=125) == 120
    assert Layering("pipeline").budget(1, most_layers=125) == 124
    with pytest.raises(PlanError, match="125, but 124 of the base image"):
        Layering("pipeline").budget(1, 124, most_layers=125)
