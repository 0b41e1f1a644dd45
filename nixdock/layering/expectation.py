"""What updates of an image are expected to change: a guess, or what earlier updates have taught."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import model_of, prior_model, prior_rates
from nixdock.layering.history import app_share, learn, learned_rates
from nixdock.layering.plan_history import PlanHistory
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths, top_paths

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel, Rate
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Expectation", "expected_changes"]

_TOP_RATE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Expectation:
    """How an image is expected to change.

    `top` are the paths that change with the app, `depths` some of them with their guessed distance
    from the root, and `rates` those of all paths.
    """

    model: ChangeModel
    rates: Mapping[StorePath, Rate]
    depths: Mapping[StorePath, int]
    top: frozenset[StorePath]
    history: PlanHistory


def expected_changes(
    closure: Closure, volatile: Collection[StorePath], previous: PreviousPlan | None
) -> Expectation:
    """Return what to expect of an image after `previous`, or of the first image if that is None."""
    reach = Reach(closure)
    volatile = frozenset(path for path in volatile if path in closure)
    depths = top_depths(reach, volatile)
    prior = prior_rates(reach, depths)
    if previous is None:
        top = top_paths(reach, depths, volatile)
        return Expectation(prior_model(reach, depths), prior, depths, top, PlanHistory())
    history = learn(previous, closure, prior)
    rates = learned_rates(history, closure, prior)
    rates.update({path: prior[path] for path in volatile})
    model = model_of(reach, rates, app_share(history))
    users = reach.users(path for path, rate in rates.items() if rate.app > _TOP_RATE)
    return Expectation(model, rates, depths, frozenset(reach.paths(users)), history)
