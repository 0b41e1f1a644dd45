"""Plans don't depend on how a version of Python rounds sums: since 3.12, `sum` does it better."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

import pytest

from nixdock.layering.family import plan_family
from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.stable import plan_stable
from tests.unit.closures import closure_of, tied

OLD = closure_of(
    {f"{name}-1": (s, [f"{r}-1" for r in refs]) for name, (s, refs) in tied(90).items()}
)


def previous_of(plan: LayerPlan) -> PreviousPlan:
    layers = tuple(layer.paths for layer in plan.layers)
    return PreviousPlan(layers, plan.history or PlanHistory())


@pytest.fixture
def sums_of_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `sum` fail if it adds fractions: `math.fsum` rounds once, everywhere."""
    original = builtins.sum

    def checked(items: Iterable[Any], start: Any = 0) -> Any:
        total = original(items, start)
        assert not isinstance(total, float)
        return total

    monkeypatch.setattr(builtins, "sum", checked)


@pytest.mark.usefixtures("sums_of_integers")
def test_no_fractions_are_added_by_sum() -> None:
    new = closure_of(
        {
            f"{name}-{2 if i % 5 else 1}": (
                size,
                [f"{r}-{2 if int(r[1:]) % 5 else 1}" for r in references],
            )
            for i, (name, (size, references)) in enumerate(tied(90).items())
        }
    )
    plan = plan_stable(OLD, 20)
    plan_stable(new, 20, LayeringOptions(previous=previous_of(plan)))
    images = {"a": OLD, "b": OLD, "c": new}
    plans = [previous_of(plan) for plan in plan_family(images, dict.fromkeys(images, 12)).values()]
    options = LayeringOptions(previous=plans[0], older=tuple(plans[1:]))
    plan_family(images, dict.fromkeys(images, 12), options)
