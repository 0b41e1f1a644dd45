"""The record of figures that short traces have, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson

from .circumstances import (
    MEMORIES,
    branches,
    crowded_steps,
    grown_steps,
    quiet_steps,
    replay_with_memory,
)
from .family import FAMILY_SCHEMES, changing_family, family_steps, replay_family
from .products import FAMILIES, family_of, product_of, trace_of
from .replay import replay
from .traces import Product, weekly_steps

__all__ = ["RECORD", "differences", "quick_figures", "recorded_figures"]

RECORD: Final = Path(__file__).with_name("layers.json")
_RECORDED_PRODUCTS: Final = ("imagemagick", "php-fpm", "postgres")
_RECORDED_TRACES: Final = (("weekly", 20), ("churn", 12))
_RECORDED_LAYERS: Final = (25, 60)
_RECORDED_STRATEGIES: Final = ("stable", "stable+previous")
_BRANCH_MEMORIES: Final = ("none", "last", "two versions back", "two versions back, and last")
_TOLERANCE: Final = 0.002

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
    php, postgres = product_of("php-fpm"), product_of("postgres")
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
