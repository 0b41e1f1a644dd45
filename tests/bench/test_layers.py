from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from nixdock.layering.package_keys import package_keys
from nixdock.layering.plan import LayerPlan
from nixdock.nix.closure import Closure
from tests.bench.large import JOBS, pareto_closure
from tests.bench.layers import costs, geometric_mean
from tests.bench.products import GRAPHS, graphs, read_graph, trace_of
from tests.bench.recorded import differences, quick_figures, recorded_figures
from tests.bench.replay import STRATEGIES, Cost, cost_of
from tests.bench.traces import Product
from tests.unit.closures import closure_of, store_path

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_prints_every_strategy() -> None:
    command = [
        *(sys.executable, "-m", "tests.bench.layers", "--no-times", "--product", "nginx"),
        *("--product", "tiny-static", "--layers", "25", "100", "--steps", "3"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    for trace in ("app", "weekly", "churn", "single", "dated"):
        for layers in ("25", "100"):
            for strategy in STRATEGIES:
                assert [trace, layers, strategy] in rows


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "jobs"), [("wide", ()), ("chain", ()), ("pareto", tuple(JOBS))])
def test_large_closures_are_timed(shape: str, jobs: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.bench.large", shape, "300", *jobs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *seconds, memory = map(float, done.stdout.split())
    assert len(seconds) == (len(jobs) or 4)
    assert memory > 1


def test_few_paths_have_very_many_referrers() -> None:
    closure = pareto_closure(2000)
    referrers = sorted((degree for _, degree in closure.graph.in_degree()), reverse=True)
    assert sum(referrers[:20]) > 0.2 * sum(referrers)
    assert referrers[0] > 50 * referrers[len(referrers) // 2]
    assert len(closure.roots) == 1


@pytest.mark.slow
def test_figures_are_those_of_the_record() -> None:
    record, figures = recorded_figures(), quick_figures()
    renew = "renew the record with: python -m tests.bench.layers --record"
    assert figures.keys() == record.keys(), renew
    worse, better = differences(record, figures)
    assert not worse, "worse than the record:\n" + "\n".join(worse)
    assert not better, "better than the record:\n" + "\n".join([*better, renew])


def test_figures_differ_from_the_record_beyond_a_tolerance() -> None:
    record = {"a": {"set": 1.0, "chain": 2.0}, "b": {"set": 1.5, "chain": 1.5}}
    figures = {"a": {"set": 1.0019, "chain": 2.005}, "b": {"set": 1.4969, "chain": 1.4971}}
    assert differences(record, record) == ([], [])
    assert differences(record, figures) == (
        ["a: chain was 2.0000 and is 2.0050 (+0.25%)"],
        ["b: set was 1.5000 and is 1.4969 (-0.21%)"],
    )


def test_the_graphs_are_closures_of_one_root() -> None:
    for path in GRAPHS.glob("*.json.gz"):
        closure = read_graph(path)
        (root,) = closure.roots
        assert root.name.startswith("entrypoint-")
    assert len(graphs()) >= 15


def small() -> Product:
    nodes = {"libc-1": (10, ()), "lib-2": (20, ("libc-1",)), "tool-2": (30, ("libc-1",))}
    return Product.of("small", closure_of(nodes))


def names_changed(old: Closure, new: Closure) -> set[str]:
    return {info.path.name for info in new if info.path not in old}


def test_an_update_changes_the_source_and_all_dependents() -> None:
    product = small()
    before = product.closure()
    assert len(before) == 6
    assert product.updated("app").closure() != before
    assert names_changed(before, product.updated("app").closure()) == {
        "app-1.0.0+u1", "app-config-1.0.0+u1", "entrypoint-1.0.0+u1",
    }  # fmt: skip
    # They have the same version, and so the same source.
    assert {"lib-2+u1", "tool-2+u1", "app-1.0.0"} <= names_changed(
        before, product.updated("2").closure()
    )
    assert len(names_changed(before, product.updated("1").closure())) == 6


def test_a_rebuild_keeps_the_version() -> None:
    product = small()
    changed = names_changed(product.closure(), product.rebuilt("lib").closure())
    assert changed == {"lib-2", "app-1.0.0", "app-config-1.0.0", "entrypoint-1.0.0"}


@pytest.mark.parametrize("kind", ["app", "weekly", "churn", "single"])
def test_traces_are_the_same_every_time(kind: str) -> None:
    random.seed(1)
    trace = trace_of("nginx", kind, 4)
    random.seed(2)
    assert trace_of("nginx", kind, 4) == trace
    assert len(trace) == 4
    for old, new in pairwise(trace):
        assert names_changed(old, new)


def test_packages_come_and_go() -> None:
    trace = trace_of("nginx", "churn", 12)
    counts = [len(package_keys(closure.infos)) for closure in trace]
    assert len(set(counts)) > 2
    assert any(new < old for old, new in pairwise(counts))


def test_what_an_update_costs() -> None:
    sizes = {
        name: (size, ()) for name, size in zip("abcde", (1, 10, 100, 1000, 10_000), strict=True)
    }
    old = closure_of({name: sizes[name] for name in "abcd"})
    new = closure_of({name: sizes[name] for name in "abce"})
    a, b, c, d, e = (store_path(name) for name in "abcde")
    before = LayerPlan.of(old, [[a], [b, d], [c]])
    after = LayerPlan.of(new, [[a], [b, e], [c]])
    assert cost_of(old, before, new, after) == Cost(10_010, 10_110, 10_000)
    assert cost_of(old, before, old, before) == Cost(0, 0, 0)
    moved = LayerPlan.of(old, [[c], [a], [b, d]])
    assert cost_of(old, before, old, moved) == Cost(0, 1111, 0)


def test_costs_are_those_of_all_steps() -> None:
    results = costs("tiny-static", "app", [25], 4)
    assert {strategy for strategy, _ in results} == set(STRATEGIES)
    for cost in results.values():
        assert cost == Cost(3 * 20_015_000, 3 * 20_015_000, 3 * 20_015_000) or cost.least > 6e7


def test_the_mean_of_ratios() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
