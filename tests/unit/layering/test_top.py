"""The top of an image: the app and its wrappers, in graphs of many shapes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths, top_paths
from tests.unit.closures import Nodes, chain_of, closure_of, edges, node_sets, store_path, tied

APP = "app->a,b,c,d; a->libc; b->libc; c->libc; d->libc"


def depths_of(text: str, volatile: str = "") -> dict[str, int]:
    reach = Reach(closure_of(edges(text)))
    found = top_depths(reach, [store_path(name) for name in volatile.split()])
    return {path.name: depth for path, depth in found.items()}


def test_an_app_that_is_the_root() -> None:
    assert depths_of(APP) == {"app": 0}


def test_an_app_below_two_wrappers() -> None:
    text = f"entry->conf,app; conf->app; {APP}"
    assert depths_of(text) == {"entry": 0, "conf": 1, "app": 2}


def test_an_app_far_below() -> None:
    text = f"w0->w1; w1->w2; w2->w3; w3->w4; w4->app; {APP}"
    assert depths_of(text) == {"w0": 0, "w1": 1, "w2": 2, "w3": 3, "w4": 4, "app": 5}


def test_a_large_path_is_not_a_wrapper() -> None:
    for size, found in ((60_000, {"app", "main"}), (20_000_000, {"app"})):
        nodes = edges("app->main,a; main->a,b,c,d; a->x; b->x; c->x; d->x", app=size)
        reach = Reach(closure_of(nodes))
        assert {path.name for path in top_depths(reach)} == found


def test_wrappers_beside_each_other() -> None:
    text = f"entry->one,two; one->app; two->app; {APP}"
    assert depths_of(text) == {"entry": 0, "one": 1, "two": 1, "app": 2}


def test_paths_that_only_the_wrappers_use() -> None:
    assert depths_of(f"entry->app,conf; {APP}") == {"entry": 0, "app": 1, "conf": 1}
    assert depths_of(f"entry->app,tini; tini->libc; {APP}") == {"entry": 0, "app": 1, "tini": 1}


def test_paths_that_only_the_app_uses_are_not_at_the_top() -> None:
    assert depths_of("app->a,b; a->c,d; b->e,f; c->g; e->g") == {"app": 0}


def test_a_few_roots_all_count() -> None:
    text = f"entry->app; bash->libc; {APP}"
    assert depths_of(text) == {"entry": 0, "app": 1, "bash": 0}


def test_of_many_roots_the_one_with_the_largest_closure_counts() -> None:
    text = f"x->libc; y->libc; z->libc; {APP}"
    assert depths_of(text) == {"app": 0}
    assert depths_of(f"x->libc; y->libc; z->libc; entry->app; {APP}") == {"entry": 0, "app": 1}


def test_volatile_paths_always_count() -> None:
    assert depths_of(APP, "b libc") == {"app": 0, "b": 0, "libc": 0}


def test_all_above_a_volatile_path_change_with_it() -> None:
    reach = Reach(closure_of(edges(APP)))
    volatile = [store_path("b")]
    found = top_paths(reach, top_depths(reach, volatile), volatile)
    assert {path.name for path in found} == {"app", "b"}
    assert top_paths(reach, (), [store_path("libc")]) == set(reach.order)


@given(node_sets(), st.text("ab", max_size=1))
def test_users_of_the_top_are_at_the_top(nodes: Nodes, salt: str) -> None:
    reach = Reach(closure_of(nodes, salt))
    depths = top_depths(reach)
    graph = reach.closure.graph
    for path, depth in depths.items():
        users = [depths.get(user) for user in graph.predecessors(path)]
        assert all(above is not None and above < depth for above in users)
    by_name = {path.name: depth for path, depth in depths.items()}
    plain = top_depths(Reach(closure_of(nodes)))
    assert by_name == {path.name: depth for path, depth in plain.items()}


def test_large_graphs_have_a_small_top() -> None:
    assert 0 < len(top_depths(Reach(closure_of(chain_of(5000))))) < 50
    assert len(top_depths(Reach(closure_of(tied(500))))) >= 1
