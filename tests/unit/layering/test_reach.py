"""Reachability: bit sets against plain walks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.reach import Reach, name_then_path, select
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, chain_of, closure_of, edges, node_sets, store_path


def walked(closure: Closure, start: StorePath) -> set[StorePath]:
    found = {start}
    waiting = [start]
    while waiting:
        new = set(closure[waiting.pop()].references) - found
        found |= new
        waiting += new
    return found


@given(node_sets(20))
def test_cones_and_users_are_what_walks_find(nodes: Nodes) -> None:
    closure = closure_of(nodes)
    reach = Reach(closure)
    below = {path: walked(closure, path) for path in closure.infos}
    for path in closure.infos:
        assert set(reach.paths(reach.cone([path]))) == below[path]
        assert set(reach.paths(reach.users([path]))) == {p for p in below if path in below[p]}
        assert reach.size(reach.cone([path])) == sum(closure[p].nar_size for p in below[path])


@given(node_sets(20), st.data())
def test_sets_of_several(nodes: Nodes, data: st.DataObject) -> None:
    closure = closure_of(nodes)
    reach = Reach(closure)
    chosen = data.draw(st.sets(st.sampled_from(list(closure.infos))))
    assert set(reach.paths(reach.bits(chosen))) == chosen
    assert set(reach.paths(reach.cone(chosen))) == {p for q in chosen for p in walked(closure, q)}
    assert reach.users(chosen) == sum(
        reach.bits([p]) for p in closure.infos if not chosen.isdisjoint(walked(closure, p))
    )


def test_a_reference_to_itself_does_not_count() -> None:
    path = store_path("a")
    reach = Reach(Closure.of([PathInfo(path, 3, references=(path,))]))
    assert (reach.down, reach.users([path]), reach.size(1)) == ((1,), 1, 3)


@given(st.lists(st.integers(), max_size=70), st.integers(0, 2**70 - 1))
def test_selected_items(items: list[int], bits: int) -> None:
    expected = [item for i, item in enumerate(items) if bits >> i & 1]
    assert list(select(items, bits)) == expected


def test_names_before_hashes() -> None:
    paths = [store_path(name, salt) for name in ("a-b", "a", "a+b") for salt in "xyz"]
    names = [path.name for path in sorted(paths, key=name_then_path)]
    assert names == ["a"] * 3 + ["a+b"] * 3 + ["a-b"] * 3
    assert sorted(paths, key=name_then_path)[:3] == sorted(store_path("a", s) for s in "xyz")


def test_long_chains_need_no_recursion() -> None:
    reach = Reach(closure_of(chain_of(5000)))
    assert reach.cone([store_path("p00000")]).bit_count() == 5000
    assert reach.users([store_path("p04999")]).bit_count() == 5000
    assert Reach(closure_of(edges("a->b"))).cone([]) == 0


@given(node_sets(), st.data())
def test_the_cones_of_many_groups(nodes: Nodes, data: st.DataObject) -> None:
    reach = Reach(closure_of(nodes))
    positions = st.sets(st.integers(0, len(nodes) - 1))
    groups = data.draw(st.lists(positions, max_size=20))
    expected = [reach.cone(reach.order[i] for i in group) for group in groups]
    assert [*reach.cones(groups)] == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nixdock.layering.reach.MOST_SETS", 0)
        patch.setattr("nixdock.layering.reach._AT_ONCE", data.draw(st.integers(1, 20)))
        assert [*reach.cones(groups)] == expected


@given(node_sets())
def test_the_sizes_of_closures(nodes: Nodes) -> None:
    closure = closure_of(nodes)
    reach = Reach(closure)
    for paths in (reach.order, closure.roots, reach.order[1:2]):
        assert reach.closure_sizes(paths) == [
            sum(closure[p].nar_size for p in walked(closure, path)) for path in paths
        ]
    assert reach.sums_below([1] * len(nodes)) == [bits.bit_count() for bits in reach.down]


def test_an_empty_closure_reaches_nothing() -> None:
    reach = Reach(Closure.of([]))
    assert (reach.cone([]), reach.closure_sizes([]), [*reach.cones([])]) == (0, [], [])
