"""Replay updates with every layering strategy.

::

    python -m tests.bench.layers            print the figures (make bench-layers)
    python -m tests.bench.layers --check    exit with 1 if a target is missed
    python -m tests.bench.layers --record   renew the record, tests/bench/layers.json

For each kind of trace, number of layers and strategy, the table shows the bytes that the updates
transfer as a multiple of the bytes of changed store paths, which no plan can avoid. `set` counts
the layers that are new: registries, containerd and Podman transfer these. `chain` also counts those
above the first new layer: Docker's classic storage transfers these. The figures are geometric means
over the products; the worst product is beside them. Then come families of images that are updated
together, with what a registry stores and what it and clients transfer; and the time and the memory
that it takes to plan large closures.

The record has the figures of a few short traces. A test fails if one gets worse, and also if one
gets better: then renew the record, and commit it with the change that made the figure better.
"""

from __future__ import annotations

import argparse
import gzip
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

import orjson

from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure

from .circumstances import (
    MEMORIES,
    branches,
    crowded_steps,
    grown_steps,
    quiet_steps,
    replay_with_memory,
)
from .family import FAMILY_SCHEMES, FamilyCost, changing_family, family_steps, replay_family
from .replay import STRATEGIES, Cost, replay
from .traces import Product, app_steps, churn_steps, single_steps, weekly_steps

GRAPHS: Final = Path(__file__).parents[1] / "data" / "graphs"
LAYERS: Final = (25, 60, 100, 125)
TRACES: Final[Mapping[str, tuple[Callable[[Product, int], Iterator[Product]], int]]] = {
    "app": (app_steps, 6),
    "weekly": (weekly_steps, 60),
    "churn": (churn_steps, 30),
    "single": (single_steps, 30),
}
DATED: Final = "dated"
FAMILY: Final = "family"
FAMILIES: Final[Sequence[tuple[str, ...]]] = (
    ("nginx", "php-fpm", "postgres", "python-scipy", "texlive", "openjdk"),
    ("imagemagick", "octave", "rust", "gcc-toolchain", "ffmpeg"),
    ("nodejs-npm", "libreoffice", "chromium", "nginx", "openjdk"),
)
"""Images of one registry: small ones, and larger ones with much or with little in common."""

RECORD: Final = Path(__file__).with_name("layers.json")
_RECORDED_PRODUCTS: Final = ("imagemagick", "php-fpm", "postgres")
_RECORDED_TRACES: Final = (("weekly", 20), ("churn", 12))
_RECORDED_LAYERS: Final = (25, 60)
_RECORDED_STRATEGIES: Final = ("stable", "stable+previous")
_BRANCH_MEMORIES: Final = ("none", "last", "two versions back", "two versions back, and last")
_TOLERANCE: Final = 0.002

_CEILINGS: Final = {
    ("app", "stable", layers): (1.0, 1.0) for layers in LAYERS
} | {
    ("app", "stable+previous", layers): (1.0, 1.0) for layers in LAYERS
} | {
    ("weekly", "stable", 25): (1.16, math.inf),
    ("weekly", "stable", 60): (1.05, math.inf),
    ("weekly", "stable", 100): (1.02, math.inf),
    ("weekly", "stable+previous", 25): (1.06, 1.3),
    ("weekly", "stable+previous", 60): (1.02, 1.3),
    ("weekly", "stable+previous", 100): (1.01, 1.3),
}  # fmt: skip
_FAMILY_CEILINGS: Final = {
    (FAMILIES[0], "family+previous", layers): most
    for layers, most in ((25, 1.06), (60, 1.01), (100, 1.005), (125, 1.005))
}
"""Of what the updates add to a registry, and of what they transfer to a client of one image."""
_WORSE_THAN_AUTO: Final = 1.02
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
    kinds = [kind for kind in options.trace or [*TRACES, DATED] if kind != FAMILY]
    missed = _replay_all(products, kinds, options.layers, options.steps)
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
    parser.add_argument("--trace", action="append", choices=[*TRACES, DATED, FAMILY])
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS, help="max_layers")
    parser.add_argument("--steps", type=int, help="the length of every trace")
    parser.add_argument("--no-times", action="store_true", help="do not plan large closures")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--record", action="store_true", help=f"renew {RECORD.name} and exit")
    return parser


def graphs() -> dict[str, dict[str, Path]]:
    """Return the graph files of each product by date."""
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(GRAPHS.glob("*.json.gz")):
        product, date = path.name.removesuffix(".json.gz").rsplit(".", 1)
        files.setdefault(product, {})[date] = path
    return files


def read_graph(path: Path) -> Closure:
    """Read a graph file."""
    return parse_closure(gzip.decompress(path.read_bytes()), (), str(path))


def trace_of(product: str, kind: str, steps: int | None = None) -> list[Closure]:
    """Return the closures of a product over time; none if `kind` is dated and there is one date."""
    files = graphs()[product]
    if kind == DATED:
        return [read_graph(path) for path in files.values()] if len(files) > 1 else []
    generate, usual = TRACES[kind]
    start = Product.of(product, read_graph(next(iter(files.values()))))
    return [step.closure() for step in generate(start, steps or usual)]


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


Figures = dict[str, dict[str, float]]


def quick_figures() -> Figures:
    """Return `set` and `chain` of the recorded traces; it takes some ten seconds."""
    figures: Figures = {}
    for product in _RECORDED_PRODUCTS:
        for kind, steps in _RECORDED_TRACES:
            trace = trace_of(product, kind, steps)
            for most in _RECORDED_LAYERS:
                for strategy in _RECORDED_STRATEGIES:
                    cost = replay(trace, most - 1, strategy)
                    figures[f"{product}, {kind}, {most} layers, {strategy}"] = {
                        "set": round(cost.pulled / cost.least, 5),
                        "chain": round(cost.chain / cost.least, 5),
                    }
    return figures | circumstance_figures() | family_figures()


def circumstance_figures() -> Figures:
    """Return `set` and `chain` of the circumstances that could spoil a memory."""
    php, postgres = (
        Product.of(name, read_graph(next(iter(graphs()[name].values()))))
        for name in ("php-fpm", "postgres")
    )
    weekly = [*weekly_steps(php, 14, 2)]
    in_turn = [product for pair in branches(php, 7) for product in pair]
    cases: list[tuple[str, Iterable[Product], tuple[int, ...], str]] = [
        ("crowded", crowded_steps(6), (60,), "last"),
        ("quiet", quiet_steps(24), (100,), "last"),
        ("php-fpm grown by postgres", grown_steps(php, postgres, 9, 8), (60, 100), "last"),
        *(("php-fpm", weekly, (25, 60), memory) for memory in MEMORIES),
        *(("php-fpm, branches in turn", in_turn, (25, 60), memory) for memory in _BRANCH_MEMORIES),
    ]
    figures: Figures = {}
    for name, steps, layers, memory in cases:
        trace = [step.closure() for step in steps]
        for most in layers:
            cost = replay_with_memory(trace, most - 1, memory)
            figures[f"{name}, {most} layers, memory: {memory}"] = {
                "set": round(cost.pulled / cost.least, 5),
                "chain": round(cost.chain / cost.least, 5),
            }
    return figures


def family_of(names: Sequence[str]) -> dict[str, Product]:
    """Return products as of the last date, the same for all."""
    files = {name: graphs()[name] for name in names}
    date = max(set.intersection(*(set(dates) for dates in files.values())))
    return {name: Product.of(name, read_graph(dates[date])) for name, dates in files.items()}


def family_figures() -> Figures:
    """Return the figures of a family of images that are updated together."""
    products = family_of(FAMILIES[0])
    cases = [
        ("family", [*family_steps(products, 7)], (25, 60), [*FAMILY_SCHEMES]),
        ("changing family", [*changing_family(products, 9)], (25,), [*FAMILY_SCHEMES][-3:]),
    ]
    figures: Figures = {}
    for name, steps, layers, schemes in cases:
        closures = [{n: product.closure() for n, product in step.items()} for step in steps]
        for most in layers:
            for scheme in schemes:
                cost = replay_family(closures, most - 1, scheme)
                figures[f"{name}, {most} layers, {scheme}"] = {
                    column: round(value, 5) for column, value in asdict(cost).items()
                }
    return figures


def recorded_figures() -> Figures:
    """Return the figures of the record."""
    figures: Figures = orjson.loads(RECORD.read_bytes())
    return figures


def differences(record: Figures, figures: Figures) -> tuple[list[str], list[str]]:
    """Return lines about the figures that are worse, and those that are better, than the record.

    Both arguments must have the same keys. Changes of at most 0.2 % are ignored.
    """
    worse: list[str] = []
    better: list[str] = []
    for key, before in record.items():
        for column, old in before.items():
            new = figures[key][column]
            if abs(new / old - 1) > _TOLERANCE:
                line = f"{key}: {column} was {old:.4f} and is {new:.4f} ({new / old - 1:+.2%})"
                (worse if new > old else better).append(line)
    return worse, better


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
