"""The ranking by popularity: published examples, and a direct model of the contest."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.cli.plan_text import ranking_lines
from nixdock.layering import Layering
from nixdock.layering.explain import explain
from nixdock.layering.ranked_paths import ranked_paths
from nixdock.layering.ranking import popularity_ranking, popularity_scores, score_text
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath

Graph = Mapping[str, Iterable[str]]

DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def store_path(name: str, salt: int = 0) -> StorePath:
    code = "".join(DIGITS[salt >> 5 * i & 31] for i in reversed(range(32)))
    return StorePath.parse(f"/nix/store/{code}-{name}")


def closure_of(graph: Graph) -> Closure:
    names = dict.fromkeys([*graph, *(n for children in graph.values() for n in children)])
    paths = {name: store_path(name) for name in names}
    return Closure.of(
        PathInfo(paths[name], references=tuple(paths[c] for c in graph.get(name, ())))
        for name in names
    )


def scores_of(graph: Graph) -> dict[str, int]:
    return {path.name: score for path, score in popularity_scores(closure_of(graph)).items()}


def order_of(graph: Graph) -> list[str]:
    return [path.name for path, _ in popularity_ranking(closure_of(graph))]


def test_the_example() -> None:
    graph = {"A": "BG", "B": "CE", "C": "DE", "D": "F", "E": "F"}
    assert scores_of(graph) == {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 9, "G": 2}
    assert order_of(graph) == ["F", "E", "D", "C", "B", "G", "A"]


def test_a_chain_with_a_shortcut() -> None:
    graph = {"foo": ["bar", "baz"], "bar": ["baz"], "baz": ["tux"]}
    assert scores_of(graph) == {"foo": 1, "bar": 2, "baz": 4, "tux": 6}


def test_ties_are_ordered_by_name() -> None:
    graph = {"foo": ["tux"], "bar": ["baz"]}
    assert scores_of(graph) == {"foo": 1, "bar": 1, "baz": 2, "tux": 2}
    assert order_of(graph) == ["baz", "tux", "bar", "foo"]


def test_several_roots() -> None:
    graph = {
        "Root1": ["A"],
        "A": ["B", "D"],
        "D": ["E"],
        "B": ["D", "F"],
        "Root2": ["B"],
        "Root3": ["C"],
        "X": [],
    }
    assert order_of(graph) == ["E", "D", "F", "B", "A", "C", "Root1", "Root2", "Root3", "X"]
    assert list(dict(sorted(scores_of(graph).items())).values()) == [2, 5, 2, 8, 11, 7, 1, 1, 1, 1]


def test_names_are_compared_with_the_hash_at_the_end() -> None:
    paths = [store_path("a-1", 3), store_path("a-1", 2), store_path("aaa-b-1", 1)]
    ranked = [path for path, _ in popularity_ranking(Closure.of(map(PathInfo, paths)))]
    assert ranked == [paths[1], paths[0], paths[2]]


def test_of_unrelated_paths_the_name_decides_before_the_hash() -> None:
    paths = [StorePath(f"/nix/store/{code * 32}-{name}") for code, name in ("za", "ab", "ba")]
    ranked = [path for path, _ in popularity_ranking(Closure.of(map(PathInfo, paths)))]
    assert [(path.hash_part[0], path.name) for path in ranked] == [
        ("b", "a"),
        ("z", "a"),
        ("a", "b"),
    ]


def test_self_references_do_not_count() -> None:
    assert scores_of({"a": ["a", "b"], "b": ["b"]}) == {"a": 1, "b": 2}


def test_an_empty_closure() -> None:
    assert popularity_ranking(Closure.of(())) == []


def model(closure: Closure) -> Counter[StorePath]:
    """Run the contest as dockerTools does: siblings pass the counts of descendants up, plus one."""
    children = {info.path: [r for r in info.references if r != info.path] for info in closure}

    def contest(siblings: Iterable[StorePath]) -> Counter[StorePath]:
        counts: Counter[StorePath] = Counter()
        for sibling in siblings:
            counts[sibling] += 1
            for descendant, count in contest(children[sibling]).items():
                counts[descendant] += count + 1
        return counts

    referred = {child for path in children for child in children[path]}
    return contest([path for path in children if path not in referred])


@st.composite
def dags(draw: st.DrawFn) -> list[PathInfo]:
    """Few names for many paths, so that there are ties; edges lead to later paths."""
    size = draw(st.integers(1, 11))
    names = draw(st.lists(st.sampled_from(["a", "b", "b-1", "c"]), min_size=size, max_size=size))
    paths = [store_path(name, salt) for salt, name in enumerate(names)]
    return [
        PathInfo(
            path,
            references=tuple(sorted(draw(st.sets(st.sampled_from(paths[i:]), max_size=4)))),
        )
        for i, path in enumerate(paths)
    ]


@pytest.mark.slow
@given(dags())
def test_scores_are_those_of_the_contest(infos: list[PathInfo]) -> None:
    closure = Closure.of(infos)
    assert popularity_scores(closure) == dict(model(closure))


@pytest.mark.slow
@given(dags(), st.randoms(use_true_random=False))
def test_the_ranking_is_that_of_the_contest_for_any_order_of_the_input(
    infos: list[PathInfo], draw: random.Random
) -> None:
    counts = model(Closure.of(infos))

    def key(path: StorePath) -> tuple[int, str]:
        head, *rest = path.split("-")
        return -counts[path], "-".join([*rest, head])

    shuffled = draw.sample(infos, len(infos))
    ranked = [path for path, _ in popularity_ranking(Closure.of(shuffled))]
    assert ranked == sorted(counts, key=key)


def test_numbers_grow_beyond_64_bits() -> None:
    depth = 200
    graph = {
        f"n{i:03}": [f"n{j:03}" for j in range(i + 1, min(i + 3, depth))] for i in range(depth)
    }
    assert max(scores_of(graph).values()) > 2**64


LARGE = """
import random
from nixdock.nix.closure import Closure, PathInfo
from nixdock.layering.ranking import popularity_scores
from nixdock.nix.store_path import StorePath

count, depth = 20_000, 200
width = count // depth
draw = random.Random(1)
paths = [StorePath(f"/nix/store/{i:032d}-p{i % 97}") for i in range(count)]
closure = Closure.of(
    PathInfo(path, references=tuple(sorted(set(draw.sample(
        paths[(i // width + 1) * width : (i // width + 2) * width], 3))))
        if i // width + 1 < depth else ())
    for i, path in enumerate(paths)
)
popularity_scores(closure)
# Not by getrusage, whose figure is that of the process which has started this one, if larger.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
def test_20000_paths_take_no_quadratic_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400


@pytest.mark.parametrize("count", [20_000])
def test_a_long_chain_needs_no_recursion(count: int) -> None:
    paths = [StorePath(f"/nix/store/{i:032d}-p") for i in range(count)]
    closure = Closure.of(
        PathInfo(path, references=tuple(paths[i + 1 : i + 2])) for i, path in enumerate(paths)
    )
    assert popularity_scores(closure)[paths[-1]] == count


@pytest.mark.slow
def test_scores_of_thousands_of_digits_are_shown() -> None:
    """Python converts integers of more than 4300 digits to text only on request."""
    levels = [[store_path(name, level) for name in "ab"] for level in range(14_400)]
    closure = Closure.of(
        PathInfo(path, references=tuple(below))
        for level, below in zip(levels, [*levels[1:], []], strict=True)
        for path in level
    )
    lowest = levels[-1][0]
    plan = Layering("popularity").plan(closure, 2)
    first, *_ = ranked = ranked_paths(closure, plan)
    assert first.path == lowest
    text = first.document()["score"]
    assert len(text) > 4300
    assert sum(int(text[-i - 1]) * 10**i for i in range(9)) == first.score % 10**9
    _, row, *_ = ranking_lines(ranked)
    assert row.split()[:2] == ["1", score_text(first.score)]
    reason, *_ = explain(closure, plan, Layering("popularity"), 2, lowest).reasons
    assert reason.endswith(f"a score of {score_text(first.score)}")


def test_long_scores_are_rounded_for_people() -> None:
    assert score_text(10**24 - 1) == "9" * 24
    assert score_text(2**1000) == "1.0715e+301"
