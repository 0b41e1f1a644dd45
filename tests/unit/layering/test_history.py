"""Learning from updates: own changes, mass rebuilds, packages that come and go."""

from __future__ import annotations

import pytest

from nixdock.layering.change_model import Rate
from nixdock.layering.history import app_share, learn, learned_rates, memory_risk
from nixdock.layering.package_keys import package_keys
from nixdock.layering.plan_history import (
    MOST_COUNTED,
    NEVER_SEEN,
    ChangeCounts,
    PlanHistory,
    PreviousPlan,
)
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath
from tests.unit.closures import store_path

Parts = dict[str, tuple[str, list[str]]]
"""The salt of the hash and the references of each name."""

BASE: Parts = {
    "app-1": ("", ["lib-1", "tool-1"]),
    "lib-1": ("", ["libc-1"]),
    "tool-1": ("", ["libc-1"]),
    "libc-1": ("", []),
    **{f"data{i}-1": ("", []) for i in range(6)},
}


def build(parts: Parts) -> Closure:
    paths = {name: store_path(name, salt) for name, (salt, _) in parts.items()}
    return Closure.of(
        PathInfo(paths[name], 1, None, tuple(sorted(paths[r] for r in references)))
        for name, (_, references) in parts.items()
    )


def previous_of(closure: Closure, history: PlanHistory | None = None) -> PreviousPlan:
    return PreviousPlan((tuple(closure.infos),), history or PlanHistory())


def prior(closure: Closure, app: str = "app") -> dict[StorePath, Rate]:
    return {
        path: Rate(0.9, 0.27) if path.name.startswith(app) else Rate(0.0, 0.01)
        for path in closure.infos
    }


def keys(closure: Closure) -> dict[str, StorePath]:
    return package_keys(closure.infos)


def learned(old: Parts, new: Parts, history: PlanHistory | None = None) -> PlanHistory:
    closure = build(new)
    history, _ = learn(previous_of(build(old), history), closure, keys(closure), prior(closure))
    return history


def test_a_history_that_is_full_stays_valid() -> None:
    full = PlanHistory(MOST_COUNTED, 1, {"app": ChangeCounts(MOST_COUNTED, 3)})
    history = learned(BASE, {**BASE, "app-1": ("x", BASE["app-1"][1])}, full)
    assert (history.steps, history.of_package("app")) == (full.steps, full.of_package("app"))


def test_an_unchanged_closure_teaches_nothing() -> None:
    history = PlanHistory(3, 1, {"app": ChangeCounts(3, 3)})
    assert learned(BASE, BASE, history) is history


def test_another_build_with_the_same_references_is_an_own_change() -> None:
    found = learned(BASE, {**BASE, "app-1": ("x", BASE["app-1"][1])})
    assert found == PlanHistory(1, 1, {"app": ChangeCounts(1, 1)})


def test_a_rebuild_because_of_references_is_not_an_own_change() -> None:
    found = learned(BASE, {**BASE, "lib-1": ("x", ["libc-1"]), "app-1": ("x", ["lib-1", "tool-1"])})
    # It changed not only the app, because the library is not part of it.
    assert found == PlanHistory(1, 0, {"lib": ChangeCounts(1, 1)})


def test_another_version_is_an_own_change_with_any_references() -> None:
    new = {key: value for key, value in BASE.items() if key not in ("lib-1", "app-1")}
    new |= {"lib-2": ("", ["libc-1"]), "app-2": ("", ["lib-2", "tool-1"])}
    found = learned(BASE, new)
    assert found == PlanHistory(1, 0, {"app": ChangeCounts(1, 1), "lib": ChangeCounts(1, 1)})


def test_a_mass_rebuild_teaches_nothing() -> None:
    history = PlanHistory(3, 1, {"app": ChangeCounts(3, 3)})
    new = {name: ("x", references) for name, (_, references) in BASE.items()}
    assert learned(BASE, new, history) == history


def test_new_packages_start_from_nothing_and_those_that_are_gone_are_forgotten() -> None:
    history = PlanHistory(3, 1, {"data0": ChangeCounts(3, 2), "data1": ChangeCounts(2, 1)})
    new = {key: value for key, value in BASE.items() if key != "data0-1"} | {"more-1": ("", [])}
    found = learned(BASE, new, history)
    assert found == PlanHistory(4, 2, {"data1": ChangeCounts(3, 1), "more": NEVER_SEEN})
    again = learned(new, {**new, "app-1": ("x", BASE["app-1"][1])}, found)
    assert again.of_package("more") == ChangeCounts(1, 0)
    assert again.of_package("data1") == ChangeCounts(4, 1)
    assert again.of_package("libc") == ChangeCounts(5, 0)


def test_counts_follow_a_package_to_another_ordinal() -> None:
    two: Parts = {**BASE, "ssl-1": ("", []), "ssl-3": ("", [])}
    history = PlanHistory(3, 1, {"ssl#1": ChangeCounts(3, 2)})
    # The older one is gone, so that the other is the first.
    new = {key: value for key, value in two.items() if key != "ssl-1"}
    assert learned(two, new, history).counts == {"ssl": ChangeCounts(4, 2)}


def test_rates_start_from_the_prior_and_end_with_the_counts() -> None:
    closure = build(BASE)
    before = prior(closure)
    by_name = {p.name: r for p, r in learned_rates(PlanHistory(), keys(closure), before).items()}
    assert by_name["app-1"].app == 0.9
    assert abs(by_name["app-1"].other - 0.27) < 1e-9
    assert abs(by_name["lib-1"].other - 0.01) < 1e-9
    counts = {"app": ChangeCounts(100, 100), "lib": ChangeCounts(100, 30)}
    many = learned_rates(PlanHistory(100, 50, counts), keys(closure), before)
    by_name = {path.name: rate for path, rate in many.items()}
    assert by_name["app-1"] == Rate(1.0, 1.0)
    assert by_name["lib-1"].app == 0.0
    assert 0.2 < by_name["lib-1"].other < 0.3
    assert by_name["libc-1"].other < 0.003


def test_a_library_that_every_update_changes_becomes_part_of_the_app_after_six() -> None:
    closure = build(BASE)
    lib = store_path("lib-1")
    for steps, at_top in ((3, False), (5, False), (6, True), (12, True)):
        always = PlanHistory(steps, 0, {"lib": ChangeCounts(steps, steps)})
        assert (learned_rates(always, keys(closure), prior(closure))[lib].app > 0) is at_top
        # An update in four that leaves it alone is enough to keep it apart.
        mostly = PlanHistory(steps, 0, {"lib": ChangeCounts(steps, steps * 3 // 4)})
        assert learned_rates(mostly, keys(closure), prior(closure))[lib].app == 0.0


def test_a_path_at_the_top_that_never_changes_is_not_the_app() -> None:
    closure = build(BASE)
    for steps, app in ((2, 0.9), (3, 0.0)):
        history = PlanHistory(steps, 0, {})
        rates = learned_rates(history, keys(closure), prior(closure))
        assert rates[store_path("app-1")].app == app


def test_the_share_of_updates_of_the_app() -> None:
    assert app_share(PlanHistory()) == 0.5
    assert app_share(PlanHistory(8, 3)) == 0.4


def test_updates_of_many_packages_are_learned_with_few_comparisons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 1000
    old = build({f"lib{i:04}-1": ("", []) for i in range(count)})
    new = build({f"lib{i:04}-{2 if i % 5 < 2 else 1}": ("", []) for i in range(count)})
    comparisons = 0

    def equal(left: StorePath, right: object) -> bool:
        nonlocal comparisons
        comparisons += 1
        return str.__eq__(left, right)

    monkeypatch.setattr(StorePath, "__eq__", equal, raising=False)
    learn(previous_of(old), new, keys(new), prior(new))
    assert comparisons < 20 * count


@pytest.mark.parametrize("steps", [0, 1, 7, 1000, 2**31 - 1])
def test_a_memory_that_lasts_is_trusted_more_and_more_however_many_updates_it_counts(
    steps: int,
) -> None:
    risks = [memory_risk(PlanHistory(n)) for n in (steps, steps + 1)]
    assert 0.005 <= risks[1] <= risks[0] <= 0.053
