"""Groups of paths that several images share: which, and in how many layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import ChangeModel, prior_model
from nixdock.layering.reach import Reach
from nixdock.layering.shared_groups import shared_groups
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, closure_of, node_sets, store_path

MB = 1_000_000


def model_of(nodes: Nodes) -> ChangeModel:
    return prior_model(Reach(closure_of(nodes)), {})


def shared(nodes: Nodes, needed: list[list[str]], budget: int) -> list[tuple[int, list[set[str]]]]:
    """Return the images of each group and the names in its layers."""
    model = model_of(nodes)
    paths = [[store_path(name) for name in names] for names in needed]
    return [
        (
            group.images,
            [{model.reach.order[i].name for i in c.members} for c in group.layers(model)],
        )
        for group in shared_groups(model, paths, [budget] * len(needed))
    ]


@given(node_sets(), st.data())
def test_groups_are_exact_and_leave_room_for_the_rest(nodes: Nodes, data: st.DataObject) -> None:
    model = model_of(nodes)
    subsets = st.lists(st.sampled_from(model.reach.order), unique=True)
    needed: list[list[StorePath]] = data.draw(st.lists(subsets, min_size=1, max_size=4))
    budgets = [data.draw(st.integers(1 if paths else 0, 12)) for paths in needed]
    groups = shared_groups(model, needed, budgets)
    for i, paths in enumerate(needed):
        left, rest = budgets[i], set(paths)
        for group in groups:
            if group.images >> i & 1:
                layers = group.layers(model)
                members = {model.reach.order[n] for layer in layers for n in layer.members}
                assert sum(len(layer.members) for layer in layers) == len(members)
                assert members <= rest
                others = [other for n, other in enumerate(needed) if not group.images >> n & 1]
                assert members.isdisjoint(path for other in others for path in other)
                left -= len(layers)
                rest -= members
        assert left >= (1 if rest else 0)


def test_free_layers_are_spent_on_sharing() -> None:
    nodes: Nodes = {"a": (MB, ()), "b": (MB, ()), "common": (MB // 2, ())}
    assert shared(nodes, [["a", "common"], ["b", "common"]], 9) == [(0b11, [{"common"}])]
    assert shared(nodes, [["a", "common"], ["b"]], 9) == []


def test_a_small_group_takes_no_layer_that_saves_clients_more() -> None:
    """Each image has 30 large paths for 6 layers; two images share one path."""
    own = {f"{image}{i:02}": (10 * MB, ()) for image in "xy" for i in range(30)}
    needed = [["common", *(name for name in own if name.startswith(image))] for image in "xy"]
    for size, groups in ((MB // 2, []), (500 * MB, [(0b11, [{"common"}])])):
        assert shared({**own, "common": (size, ())}, needed, 6) == groups


def test_a_group_is_split_where_that_saves_most() -> None:
    nodes: Nodes = {
        **{f"lib{i}": (10 * MB, ()) for i in range(6)},
        "x": (1000, ()),
        "y": (1000, ()),
    }
    libraries = [name for name in nodes if name.startswith("lib")]
    ((images, layers),) = shared(nodes, [[*libraries, "x"], [*libraries, "y"]], 7)
    assert images == 0b11
    assert sorted(map(sorted, layers)) == [[name] for name in libraries]
