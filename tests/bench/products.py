"""The products whose updates are replayed, and what happens to them over time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure

from .traces import Product, app_steps, churn_steps, single_steps, weekly_steps

__all__ = [
    "DATED",
    "FAMILIES",
    "GRAPHS",
    "TRACES",
    "family_of",
    "graphs",
    "product_of",
    "read_graph",
    "trace_of",
]

GRAPHS: Final = Path(__file__).parents[1] / "data" / "graphs"
TRACES: Final[Mapping[str, tuple[Callable[[Product, int], Iterator[Product]], int]]] = {
    "app": (app_steps, 6),
    "weekly": (weekly_steps, 60),
    "churn": (churn_steps, 30),
    "single": (single_steps, 30),
}
DATED: Final = "dated"
FAMILIES: Final[Sequence[tuple[str, ...]]] = (
    ("nginx", "php-fpm", "postgres", "python-scipy", "texlive", "openjdk"),
    ("imagemagick", "octave", "rust", "gcc-toolchain", "ffmpeg"),
    ("nodejs-npm", "libreoffice", "chromium", "nginx", "openjdk"),
)
"""Images of one registry: small ones, and larger ones with much or with little in common."""


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
    return [step.closure() for step in generate(product_of(product), steps or usual)]


def product_of(name: str) -> Product:
    """Return a product as of its first date."""
    return Product.of(name, read_graph(next(iter(graphs()[name].values()))))


def family_of(names: Sequence[str]) -> dict[str, Product]:
    """Return products as of the last date, the same for all."""
    files = {name: graphs()[name] for name in names}
    date = max(set.intersection(*(set(dates) for dates in files.values())))
    return {name: Product.of(name, read_graph(dates[date])) for name, dates in files.items()}
