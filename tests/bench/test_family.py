from __future__ import annotations

from dataclasses import asdict

import pytest

from nixdock.layering.plan import LayerPlan
from nixdock.nix.closure import Closure
from tests.bench import family
from tests.bench.family import FamilyCost, changing_family, family_steps, replay_family
from tests.bench.products import FAMILIES, family_of
from tests.bench.traces import APP, Product
from tests.unit.closures import closure_of, store_path


def small(name: str, libc: int = 10) -> Product:
    return Product.of(name, closure_of({"libc6-1": (libc, ()), f"{name}-2": (20, ("libc6-1",))}))


def test_images_of_a_family_have_the_same_paths() -> None:
    """Also if their graphs disagree about a size, and after updates of what they share."""
    products = {"one": small("one"), "two": small("two", libc=11)}
    generations = [
        {name: {*product.closure().infos.items()} for name, product in step.items()}
        for step in family_steps(products, 40)
    ]
    for images in generations:
        assert [path.name.partition("+")[0] for path, _ in images["one"] & images["two"]] == [
            "libc6-1"
        ]
    assert len({path for images in generations for path, _ in images["one"] & images["two"]}) > 1


def test_images_and_packages_come_and_go() -> None:
    products = {name: small(name) for name in ("one", "two", "three")}
    steps = [*changing_family(products, 9)]
    assert [[*step] for step in (steps[0], steps[4], steps[8])] == [
        ["one", "two"],
        ["one", "two", "three"],
        ["two", "three"],
    ]
    assert "common" not in steps[3]["two"].packages
    assert all("common" in product.packages[APP].references for product in steps[4].values())


def test_products_of_families_are_of_one_date() -> None:
    for names in FAMILIES:
        products = family_of(names)
        assert [*products] == [*names]
        common = set.intersection(*(set(product.closure().infos) for product in products.values()))
        assert any(path.name.startswith("libc6-") for path in common)


def test_what_an_update_of_a_family_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images share libc; a new version of it, and then the old one again."""
    sizes = {"libc": 100, "libc-2": 100, "x": 10, "y": 1}
    a, b, c, d = (store_path(name) for name in sizes)

    def closures(libc: str) -> dict[str, Closure]:
        return {
            image: closure_of({name: (sizes[name], ()) for name in (libc, image)}) for image in "xy"
        }

    def plan(closures: dict[str, Closure], _: int, __: object) -> dict[str, LayerPlan]:
        x, y = closures["x"], closures["y"]
        libc = a if a in x else b
        return {"x": LayerPlan.of(x, [[c], [libc]]), "y": LayerPlan.of(y, [[libc, d]])}

    monkeypatch.setattr(family, "FAMILY_SCHEMES", {"scheme": plan})
    trace = [closures("libc"), closures("libc-2"), closures("libc")]
    cost = replay_family(trace, 9, "scheme")
    expected = FamilyCost(
        first=211 / 111,
        last=211 / 111,
        growth=201 / 100,
        host=402 / 200,
        client=1.01**0.5,
        worst=1.01,
        chain=1.01**0.5,
    )
    assert asdict(cost) == pytest.approx(asdict(expected))
