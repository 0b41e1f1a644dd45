"""Replay updates with every layering strategy.

::

    python -m tests.bench.layers            print the figures (make bench-layers)
    python -m tests.bench.layers --check    exit with 1 if a target is missed
    python -m tests.bench.layers --record   renew the record, tests/bench/layers.json

For each kind of trace, number of layers and strategy, the table shows the bytes that the updates
transfer as a multiple of the bytes of changed store paths, which no plan can avoid. `set` counts
the layers that are new: registries, containerd and Podman transfer these. `chain` also counts those
above the first new layer: Docker's classic storage transfers these. The figures are geometric means
over the products; the worst product is beside them. Then come updates with memories that fail: in
turn lost, or of another image than the one that clients have; families of images that are updated
together, with what a registry stores and what it and clients transfer; and the time and the memory
that it takes to plan large closures.

The record has the figures of a few short traces. A test fails if one gets worse, and also if one
gets better: then renew the record, and commit it with the change that made the figure better.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from typing import Final

import orjson

from .circumstances import MEMORIES, branches, replay_with_memory
from .family import FAMILY_SCHEMES, FamilyCost, family_steps, replay_family
from .products import DATED, FAMILIES, TRACES, family_of, graphs, product_of, trace_of
from .recorded import RECORD, quick_figures
from .replay import STRATEGIES, Cost, replay
from .traces import weekly_steps

LAYERS: Final = (25, 60, 100, 125)
FAMILY: Final = "family"
MEMORY: Final = "memory"
"""Traces of several images, and traces for which memories differ, beside those of `TRACES`."""

_CEILINGS: Final = {
    ("app", "stable", layers): (1.0, 1.0) for layers in LAYERS
} | {
    ("app", "stable+previous", layers): (1.0, 1.0) for layers in LAYERS
} | {
    ("weekly", "stable", 25): (1.16, math.inf),
    ("weekly", "stable", 60): (1.05, math.inf),
    ("weekly", "stable", 100): (1.02, math.inf),
    ("weekly", "stable+previous", 25): (1.05, 1.25),
    ("weekly", "stable+previous", 60): (1.01, 1.25),
    ("weekly", "stable+previous", 100): (1.004, 1.25),
    ("weekly", "stable+previous", 125): (1.001, 1.25),
}  # fmt: skip
_FAMILY_CEILINGS: Final = {
    (FAMILIES[0], "family+previous", layers): most
    for layers, most in ((25, 1.06), (60, 1.01), (100, 1.005), (125, 1.005))
}
"""Of what the updates add to a registry, and of what they transfer to a client of one image."""
_WORSE_THAN_AUTO: Final = 1.02
_WORSE_THAN_NONE: Final = 1.01
_SHAPES: Final = (
    ("wide", 1_000, 0.5, 500),
    ("wide", 5_000, 2.0, 500),
    ("wide", 20_000, 3.0, 500),
    ("pareto", 20_000, 3.0, 500),
    ("chain", 20_000, 3.0, 500),
    ("wide", 100_000, 30.0, 1000),
    ("pareto", 100_000, 30.0, 1000),
)
"""Shapes of closures, numbers of paths, and the most seconds and megabytes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or renew the record, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.record:
        document = orjson.dumps(quick_figures(), option=orjson.OPT_INDENT_2)
        RECORD.write_bytes(document + b"\n")
        return 0
    products = [p for p in graphs() if not options.product or p in options.product]
    kinds = [kind for kind in options.trace or [*TRACES, DATED] if kind not in {FAMILY, MEMORY}]
    missed = _replay_all(products, kinds, options.layers, options.steps)
    if not options.trace or MEMORY in options.trace:
        missed += _replay_memories(products, options.layers, options.steps or 26)
    if not options.trace or FAMILY in options.trace:
        missed += _replay_families(products, options.layers, options.steps or 13)
    if not options.no_times:
        missed += _time_large_closures()
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.layers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--product", action="append", help="replay only this product; repeatable")
    parser.add_argument("--trace", action="append", choices=[*TRACES, DATED, FAMILY, MEMORY])
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS, help="max_layers")
    parser.add_argument("--steps", type=int, help="the length of every trace")
    parser.add_argument("--no-times", action="store_true", help="do not plan large closures")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--record", action="store_true", help=f"renew {RECORD.name} and exit")
    return parser


Results = dict[tuple[str, int], Cost]


def costs(product: str, kind: str, layers: Iterable[int], steps: int | None) -> Results:
    """Return the cost of a trace for each strategy and number of layers."""
    trace = trace_of(product, kind, steps)
    if not trace:
        return {}
    return {
        (strategy, most): replay(trace, most - 1, strategy)
        for most in layers
        for strategy in STRATEGIES
    }


def _replay_all(
    products: Sequence[str], kinds: Sequence[str], layers: Sequence[int], steps: int | None
) -> int:
    """Print the table, and return how many targets are missed."""
    print(f"{'trace':<8}{'layers':>6}  {'strategy':<16}{'set':>7}{'chain':>8}  worst product")
    missed = 0
    with ProcessPoolExecutor() as executor:
        for kind in kinds:
            running = {p: executor.submit(costs, p, kind, layers, steps) for p in products}
            results = {p: future.result() for p, future in running.items() if future.result()}
            for most in layers if results else ():
                for strategy in STRATEGIES:
                    by_product = {p: result[strategy, most] for p, result in results.items()}
                    missed += _row(kind, most, strategy, by_product)
                missed += _against_auto(kind, most, results)
    return missed


def _row(kind: str, layers: int, strategy: str, cost_of: Mapping[str, Cost]) -> bool:
    """Print a row of the table, and return whether its target is missed."""
    pulled = geometric_mean([cost.pulled / cost.least for cost in cost_of.values()])
    chain = geometric_mean([cost.chain / cost.least for cost in cost_of.values()])
    worst = max(cost_of, key=lambda product: cost_of[product].pulled / cost_of[product].least)
    ratio = cost_of[worst].pulled / cost_of[worst].least
    ceilings = _CEILINGS.get((kind, strategy, layers))
    # Figures are compared as they are printed, to three decimals.
    missed = ceilings is not None and (pulled > ceilings[0] + 5e-4 or chain > ceilings[1] + 5e-4)
    verdict = "" if ceilings is None else "  missed" if missed else "  ok"
    print(
        f"{kind:<8}{layers:>6}  {strategy:<16}{pulled:>7.3f}{chain:>8.3f}  {worst} {ratio:.3f}"
        f"{verdict}",
        flush=True,
    )
    return missed


def _against_auto(kind: str, layers: int, results: Mapping[str, Results]) -> bool:
    """Print the product for which `stable` is worst in comparison with `auto`."""
    ratios = {
        product: result["stable", layers].pulled / result["auto", layers].pulled
        for product, result in results.items()
    }
    worst = max(ratios, key=lambda product: ratios[product])
    missed = layers == 100 and ratios[worst] > _WORSE_THAN_AUTO
    verdict = "" if layers != 100 else "  missed" if missed else "  ok"
    print(f"{kind:<8}{layers:>6}  stable / auto, worst: {worst} {ratios[worst]:.3f}{verdict}")
    return missed


def memory_costs(product: str, kind: str, layers: Iterable[int], steps: int) -> Results:
    """Return the cost of updates every other week for each memory and number of layers.

    `kind` is "weekly", or "branches": then main and a branch are deployed in turn.
    """
    start = product_of(product)
    if kind == "branches":
        found = [each for pair in branches(start, steps // 2) for each in pair]
    else:
        found = [*weekly_steps(start, steps, 2)]
    trace = [each.closure() for each in found]
    return {
        (memory, most): replay_with_memory(trace, most - 1, memory)
        for most in layers
        for memory in MEMORIES
    }


def _replay_memories(products: Sequence[str], layers: Sequence[int], steps: int) -> int:
    """Print what memories are worth, and return how many are worse than none."""
    print(f"\n{'trace':<9}{'layers':>6}  {'memory':<28}{'set':>7}{'chain':>8}  worst product")
    missed = 0
    with ProcessPoolExecutor() as executor:
        for kind in ("weekly", "branches"):
            running = {p: executor.submit(memory_costs, p, kind, layers, steps) for p in products}
            results = {product: future.result() for product, future in running.items()}
            for most in layers:
                none = _mean(results, ("none", most))
                for memory in MEMORIES:
                    found = _mean(results, (memory, most))
                    chain = _mean(results, (memory, most), lambda cost: cost.chain)
                    ratios = {p: _ratio(costs[memory, most]) for p, costs in results.items()}
                    worst = max(ratios, key=lambda product: ratios[product])
                    exceeded = found > _WORSE_THAN_NONE * none + 5e-4
                    missed += exceeded
                    print(
                        f"{kind:<9}{most:>6}  {memory:<28}{found:>7.3f}{chain:>8.3f}  {worst}"
                        f" {ratios[worst]:.3f}  {'missed' if exceeded else 'ok'}",
                        flush=True,
                    )
    return missed


def _ratio(cost: Cost, bytes_of: Callable[[Cost], int] = lambda cost: cost.pulled) -> float:
    return bytes_of(cost) / cost.least


def _mean(
    results: Mapping[str, Results],
    key: tuple[str, int],
    bytes_of: Callable[[Cost], int] = lambda cost: cost.pulled,
) -> float:
    return geometric_mean([_ratio(costs[key], bytes_of) for costs in results.values()])


def _replay_families(products: Sequence[str], layers: Sequence[int], steps: int) -> int:
    """Print the figures of families whose images are all in `products`; count missed targets."""
    missed = 0
    columns = [column.name for column in fields(FamilyCost)]
    for names in (names for names in FAMILIES if set(names) <= {*products}):
        print(f"\nfamily: {', '.join(names)}")
        print(f"{'layers':>6}  {'scheme':<26}" + "".join(f"{column:>8}" for column in columns))
        family = [
            {name: product.closure() for name, product in step.items()}
            for step in family_steps(family_of(names), steps)
        ]
        for most in layers:
            for scheme in FAMILY_SCHEMES:
                cost = replay_family(family, most - 1, scheme)
                ceiling = _FAMILY_CEILINGS.get((names, scheme, most), math.inf)
                exceeded = max(cost.growth, cost.client) > ceiling + 5e-4
                missed += exceeded
                verdict = "" if ceiling == math.inf else "  missed" if exceeded else "  ok"
                figures = "".join(f"{value:>8.3f}" for value in asdict(cost).values())
                print(f"{most:>6}  {scheme:<26}{figures}{verdict}", flush=True)
    return missed


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, which is the mean for ratios."""
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def _time_large_closures() -> int:
    """Print times and memory, and return how many closures exceed their limits."""
    missed = 0
    print(f"\n{'closure':<15}planned by stable, with a previous plan, and after a mass rebuild")
    for shape, count, most, most_memory in _SHAPES:
        # Each in a process of its own, to measure the memory of one closure.
        command = [sys.executable, "-m", "tests.bench.large", shape, str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        *seconds, memory = map(float, done.stdout.split())
        exceeded = max(seconds) > most or memory > most_memory
        missed += exceeded
        times = ", ".join(f"{s:.2f} s" for s in seconds)
        verdict = "missed" if exceeded else "ok"
        print(f"{shape:<7}{count:>7} {times}, {memory:.0f} MB  {verdict}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
