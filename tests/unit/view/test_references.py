"""What the reference graph tells of an image, compared with sums over all paths."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from nixdock.face.viewing import view_plan
from nixdock.layering.plan import LayerPlan
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.stated_references import StatedReferences
from nixdock.view.chains import referrers_of, shortest_chain
from nixdock.view.model import ImageView, PathView
from nixdock.view.of_image import view_of_plan
from nixdock.view.references import added_sizes, with_references
from tests.unit.closures import Nodes, closure_of, edges, node_sets, store_path


def planned(nodes: Nodes, *layers: str) -> ImageView:
    """Return the view of a plan, whose layers are names separated by spaces."""
    closure = closure_of(nodes)
    groups = [[store_path(name) for name in layer.split()] for layer in layers]
    return view_plan(closure, LayerPlan.of(closure, groups or [[info.path] for info in closure]))


def by_name(view: ImageView) -> dict[str, PathView]:
    return {path.name: path for path in view.paths()}


@given(node_sets())
def test_added_sizes_are_what_goes_with_a_path(nodes: Nodes) -> None:
    closure = closure_of(nodes)
    whole = closure.nar_size
    for path, size in added_sizes(closure).items():
        roots = [root for root in closure.roots if root != path]
        left = Closure.of(
            PathInfo(
                info.path,
                info.nar_size,
                references=tuple(r for r in info.references if r != path),
            )
            for info in closure
            if info.path != path
        ).reached_from(roots)
        assert whole - left.nar_size == size


@given(node_sets())
def test_closure_sizes_and_what_changes_a_layer(nodes: Nodes) -> None:
    view = planned(nodes)
    closure = closure_of(nodes)
    for layer in view.layers:
        (path,) = layer.paths
        below = closure.reached_from([store_path(path.name)])
        assert path.closure_size == below.nar_size
        assert layer.changed_by == len(below)
        assert path.references == tuple(sorted(closure.references(store_path(path.name))))


@given(node_sets())
def test_the_chain_is_the_shortest(nodes: Nodes) -> None:
    view = planned(nodes)
    closure = closure_of(nodes)
    for path in view.paths():
        chain = [store_path(each.name) for each in shortest_chain(view, path.path)]
        assert chain[-1] == path.path
        for one, other in pairwise(chain):
            assert other in closure.references(one)
        distances = {store_path(name.rpartition("/")[2][33:]): 0 for name in view.app}
        for _ in closure.infos:
            for one, distance in [*distances.items()]:
                for other in closure.references(one):
                    distances.setdefault(other, distance + 1)
        if store_path(path.name) in distances:
            assert chain[0] in view.app
            assert len(chain) <= 1 + distances[store_path(path.name)]
        else:
            assert chain[0] in closure.roots
        assert all(path.path in (each.references or ()) for each in referrers_of(view, path.path))


def test_the_app_is_marked() -> None:
    nodes = edges("app->lib,data; lib->libc; data", app=1_000_000, libc=5)
    view = planned(nodes, "libc", "lib data", "app")
    assert [path.name for path in view.paths() if path.is_app] == ["app"]
    assert [layer.has_app for layer in view.layers] == [False, False, True]
    assert [layer.title for layer in view.layers] == ["libc", "lib", "app"]
    assert [layer.changed_by for layer in view.layers] == [1, 3, 4]
    found = by_name(view)
    assert (found["lib"].added_size, found["lib"].closure_size) == (6, 6)
    assert found["app"].added_size == 1_000_007


def test_a_layer_changes_with_the_app_that_it_refers_to() -> None:
    nodes = edges("wrapper->app,sh; app->libc; sh->libc", wrapper=10, app=1_000_000)
    closure = closure_of(nodes)
    plan = LayerPlan.of(closure, [[info.path] for info in closure])
    view = view_plan(closure, plan, volatile=[store_path("app")])
    changing = {layer.title for layer in view.layers if layer.has_app}
    assert changing == {"app", "wrapper"}
    assert view.app == (store_path("app"),)


def test_what_is_not_stated_is_not_known() -> None:
    closure = closure_of(edges("app->lib,x; lib->libc; x"))
    plan = LayerPlan.of(closure, [[info.path] for info in closure])
    plain = view_of_plan(plan, {info.path: info.nar_size for info in closure}, "plan")
    known = frozenset(map(store_path, ("app", "libc", "x")))
    view = with_references(plain, StatedReferences(closure.infos, known, "a database"))
    found = by_name(view)
    assert found["lib"].references is None
    assert found["app"].references is not None
    # What refers to nothing that is known might be all that keeps another path.
    assert {path.added_size for path in view.paths()} == {None}
    changed_by = {layer.title: layer.changed_by for layer in view.layers}
    assert changed_by == {"app": None, "lib": None, "libc": 1, "x": 1}
    nothing = with_references(plain, StatedReferences({}, frozenset(), "nothing"))
    assert nothing.references_from is None
    assert not nothing.has_references
    assert by_name(nothing)["app"].size == 1
