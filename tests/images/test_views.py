"""Views of images of real closures tell what Nix knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock import Closure, ImageSpec, Layering, query_closure, read_spec, view_image, view_plan
from nixdock.face.building import build_image
from nixdock.face.plans import plan_layers
from nixdock.view.chains import shortest_chain

from .conftest import Library

pytestmark = pytest.mark.nix

PACKAGES = "[ pkgs.nix pkgs.bash pkgs.coreutils pkgs.python3 pkgs.hello ]"


@pytest.fixture(scope="module")
def closure(library: Library) -> Closure:
    return query_closure(map(str, library.closure_of(PACKAGES)))


@pytest.fixture
def spec(closure: Closure, tmp_path: Path) -> ImageSpec:
    file = tmp_path / "spec.json"
    roots = ", ".join(f'"{root}"' for root in closure.roots)
    hello = next(info.path for info in closure if info.path.name.startswith("hello"))
    file.write_text(
        f'{{"version": 1, "name": "x", "closure": {{"roots": [{roots}]}}, "max_layers": 12,'
        f' "config": {{"Cmd": ["{hello}/bin/hello"]}}}}'
    )
    return read_spec(file)


def test_an_image_tells_what_nix_knows(closure: Closure, spec: ImageSpec, tmp_path: Path) -> None:
    build_image(spec, tmp_path / "image.tar")
    view = view_image(tmp_path / "image.tar")
    assert view.references_from == "the files in its layers"
    paths = {path.path: path for path in view.paths()}
    assert paths.keys() == closure.infos.keys()
    for info in closure:
        # To the byte, and to the last reference.
        assert paths[info.path].size == info.nar_size
        assert paths[info.path].references == tuple(sorted(closure.references(info.path)))
    assert sum(path.size or 0 for path in paths.values()) == closure.nar_size
    of_spec = view_image(spec)
    assert [
        (layer.title, layer.size, layer.nar_size, layer.changed_by, layer.has_app, layer.paths)
        for layer in view.layers
    ] == [
        (layer.title, layer.size, layer.nar_size, layer.changed_by, layer.has_app, layer.paths)
        for layer in of_spec.layers
    ]
    assert [path.name.partition("-")[0] for path in view.paths() if path.is_app] == ["hello"]


def test_a_plan_tells_the_same(closure: Closure, spec: ImageSpec) -> None:
    plan = view_plan(closure, plan_layers(closure, layering=Layering(), max_layers=12))
    view = view_image(spec)
    assert [layer.nar_size for layer in plan.layers] == [
        layer.nar_size for layer in view.layers if layer.paths
    ]
    libc = next(path for path in view.paths() if path.name.startswith("libc6-"))
    chain = shortest_chain(view, libc.path)
    assert chain[0].is_app
    assert chain[-1] == libc
