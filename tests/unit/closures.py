"""Closures for tests of planning, by names: the hashes follow from these and a salt."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence

from hypothesis import strategies as st

from nixdock.layering import LayerPlan
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import base32_encode
from nixdock.nix.store_path import StorePath

Nodes = Mapping[str, tuple[int, Sequence[str]]]
"""The size and the references of each name."""


def store_path(name: str, salt: str = "") -> StorePath:
    digest = hashlib.sha256(f"{name}{salt}".encode()).digest()[:20]
    return StorePath.parse(f"/nix/store/{base32_encode(digest)}-{name}")


def closure_of(nodes: Nodes, salt: str = "") -> Closure:
    return Closure.of(
        PathInfo(
            store_path(name, salt),
            size,
            references=tuple(sorted(store_path(r, salt) for r in references)),
        )
        for name, (size, references) in nodes.items()
    )


def edges(text: str, **sizes: int) -> dict[str, tuple[int, list[str]]]:
    """Read "A->B,C; X": each name's references; sizes are 1 if not given."""
    found: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, _, references = part.strip().partition("->")
        found[name] = [r for r in references.split(",") if r]
    for references_ in [*found.values()]:
        for reference in references_:
            found.setdefault(reference, [])
    return {name: (sizes.get(name, 1), references) for name, references in found.items()}


def names(plan: LayerPlan) -> list[list[str]]:
    return [[path.name for path in layer.paths] for layer in plan.layers]


def name_sets(groups: Iterable[Iterable[StorePath]]) -> list[set[str]]:
    return [{path.name for path in group} for group in groups]


def chain_of(count: int) -> Nodes:
    """Return a chain whose first path refers to the second, and so on."""
    texts = [f"p{i:05}" for i in range(count)]
    return {name: (10 + i % 7, texts[i + 1 : i + 2]) for i, name in enumerate(texts)}


def tied(count: int, seed: int = 0) -> Nodes:
    """Return a graph in which hundreds have the same size and many the same users."""
    draw = random.Random(seed)
    texts = [f"p{i:05}" for i in range(count)]
    return {
        name: (draw.choice((0, 100, 100, 5000)), sorted(set(draw.choices(texts[i + 1 :], k=2))))
        if i + 1 < count
        else (100, [])
        for i, name in enumerate(texts)
    }


@st.composite
def node_sets(draw: st.DrawFn, most: int = 30) -> Nodes:
    """Draw a graph: names are in a random order of dependency, sizes are often equal."""
    texts = draw(st.permutations([f"p{i:02}" for i in range(draw(st.integers(1, most)))]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    top = rng.choice((0, 1, 5, 1000))
    return {
        name: (
            rng.randint(0, top),
            sorted(set(rng.sample(texts[i + 1 :], min(len(texts) - i - 1, rng.randrange(4))))),
        )
        for i, name in enumerate(texts)
    }
