"""What updates of an image are expected to change: a guess, or what earlier updates have taught."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.layering.change_model import model_of, prior_model, prior_rates
from nixdock.layering.history import app_share, learn, newcomers
from nixdock.layering.package_keys import package_keys
from nixdock.layering.plan_history import PlanHistory
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths, top_paths

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel, Rate
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Expectation", "guessed_changes", "learned_changes"]

_TOP_RATE: Final = 0.2


class Expectation(Struct, frozen=True):
    """How an image is expected to change.

    `rates` are those of all paths, and `top` the paths that change with the app. `depths` are paths
    that were guessed to be at the top, with their distances from the root. `volatile` are paths of
    which users know that they change often, and `newcomers` those of packages that no update has
    seen yet.
    """

    model: ChangeModel
    rates: Mapping[StorePath, Rate]
    top: frozenset[StorePath]
    depths: Mapping[StorePath, int]
    volatile: frozenset[StorePath]
    history: PlanHistory
    newcomers: frozenset[StorePath] = frozenset()


def guessed_changes(closure: Closure, volatile: Collection[StorePath]) -> Expectation:
    """Return what to expect of a closure of which only the graph and the sizes are known."""
    reach = Reach(closure)
    known = frozenset(path for path in volatile if path in closure)
    depths = top_depths(reach, known)
    top = top_paths(reach, depths, known)
    rates = prior_rates(reach, depths)
    return Expectation(prior_model(reach, depths), rates, top, depths, known, PlanHistory())


def learned_changes(guess: Expectation, previous: PreviousPlan) -> Expectation:
    """Return what to expect after `previous`, with the update from it to the closure counted."""
    reach = guess.model.reach
    keys = package_keys(reach.order)
    history, rates = learn(previous, reach.closure, keys, guess.rates)
    rates.update({path: guess.rates[path] for path in guess.volatile})
    model = model_of(reach, rates, app_share(history))
    users = reach.users(path for path, rate in rates.items() if rate.app > _TOP_RATE)
    top = frozenset(reach.paths(users))
    unseen = newcomers(history, keys)
    return replace(guess, model=model, rates=rates, top=top, history=history, newcomers=unseen)
