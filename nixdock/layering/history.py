"""The change rates that the updates of an image teach: how often each package changes itself.

A path that is rebuilt because one of its references changed tells nothing about its own package.
So a change counts as the package's own if its version differs, or if all its references stayed the
same. An update that rebuilds most of the image, such as one of the compiler, is not counted: it
would make every package look volatile for a long time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import Rate
from nixdock.layering.package_keys import package_keys, version_of
from nixdock.layering.plan_history import MOST_COUNTED, NEVER_SEEN, ChangeCounts, PlanHistory

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["app_share", "learn", "learned_rates", "memory_risk", "newcomers"]

_PRIOR_STRENGTH: Final = 0.2
_UPDATES_TO_DOUBT: Final = 2
"""After more updates than this, counts decide whether a path at the top changes with the app."""
_UPDATES_TO_TRUST: Final = 5
"""After more updates than this, counts decide it for the other paths as well."""
_APP_FREQUENCY: Final = 0.75
_OFTEN: Final = 0.1
_RARELY: Final = 0.005
"""How probably an update finds a memory that fails, where memories do often and where rarely."""
_MOST_OUTLASTED: Final = 1000
"""More updates than this say no more about a memory."""


def learn(
    previous: PreviousPlan,
    closure: Closure,
    new: Mapping[str, StorePath],
    prior: Mapping[StorePath, Rate],
) -> tuple[PlanHistory, dict[StorePath, Rate]]:
    """Return the history of the previous image and the rates, with the update to `closure` counted.

    `new` are the paths of the closure by `package_keys`.
    """
    known = previous.history
    old = package_keys(path for layer in previous.layers for path in layer)
    if set(old.values()) == set(new.values()):
        return known, learned_rates(known, new, prior)
    origins = dict(_origins(old, new))
    changed = [path for path in new.values() if path not in origins or origins[path][1] != path]
    is_counted = 2 * len(changed) <= len(new) and known.steps < MOST_COUNTED
    own = frozenset(
        path for path in changed if path in origins and _own_change(path, origins, closure)
    )
    counts = {}
    for key, path in new.items():
        if path not in origins:
            counts[key] = NEVER_SEEN
            continue
        before = known.of_package(origins[path][0])
        counts[key] = (
            ChangeCounts(before.seen + 1, before.changed + (path in own)) if is_counted else before
        )
    steps = known.steps + is_counted
    history = PlanHistory.of(steps, known.app_only, counts)
    rates = learned_rates(history, new, prior)
    if is_counted and all(rates[path].app for path in own):
        # Rates do not depend on how many updates changed the app alone.
        history = PlanHistory.of(steps, known.app_only + 1, counts)
    return history, rates


def _origins(
    old: Mapping[str, StorePath], new: Mapping[str, StorePath]
) -> Iterator[tuple[StorePath, tuple[str, StorePath]]]:
    """Yield each path with its key and path in the previous image.

    A path that was there is its own origin, even if its ordinal has changed. Any other path
    has the first path of the same package that is gone, so that each is used once.
    """
    kept = set(new.values())
    gone: dict[str, list[tuple[str, StorePath]]] = {}
    for key, path in old.items():
        if path in kept:
            yield path, (key, path)
        else:
            gone.setdefault(key.partition("#")[0], []).append((key, path))
    known = set(old.values())
    for key, path in new.items():
        if path not in known and (candidates := gone.get(key.partition("#")[0])):
            yield path, candidates.pop(0)


def _own_change(
    path: StorePath, origins: Mapping[StorePath, tuple[str, StorePath]], closure: Closure
) -> bool:
    """Return whether a path that differs from its origin was changed itself."""
    if version_of(path) != version_of(origins[path][1]):
        return True
    return all(
        origins.get(reference, ("", ""))[1] == reference
        for reference in closure[path].references
        if reference != path
    )


def learned_rates(
    history: PlanHistory, keys: Mapping[str, StorePath], prior: Mapping[StorePath, Rate]
) -> dict[StorePath, Rate]:
    """Return the rates of all paths: those of `prior`, corrected by the counts of `history`.

    `keys` are the paths by `package_keys`.
    """
    rates = {}
    for key, path in keys.items():
        counts = history.of_package(key)
        before = prior[path]
        rate = (counts.changed + _PRIOR_STRENGTH) / (counts.seen + _PRIOR_STRENGTH / before.other)
        app = before.app
        if counts.seen > _UPDATES_TO_DOUBT:
            # A library is not part of the app just because the first few updates all changed it.
            enough = _UPDATES_TO_DOUBT if app else _UPDATES_TO_TRUST
            app = 0.0
            if counts.seen > enough and counts.changed > _APP_FREQUENCY * counts.seen:
                # Paths that change in almost every update change together, whatever their prior
                # rate. Rounding gives them few different rates, and so few classes.
                rate = (counts.changed + _PRIOR_STRENGTH) / (counts.seen + _PRIOR_STRENGTH)
                app = rate = round(rate, 2)
        rates[path] = Rate(app, rate)
    return rates


def app_share(history: PlanHistory) -> float:
    """Return the share of updates that change only the app."""
    return (1 + history.app_only) / (2 + history.steps)


def memory_risk(history: PlanHistory) -> float:
    """Return the probability that the memory fails at the next update.

    It fails if it is lost, or if clients have another image than the one that it is of. There are
    places in which memories often fail, and places in which they hardly ever do; each update that a
    memory has outlasted speaks for the latter.
    """
    outlasted = min(history.steps, _MOST_OUTLASTED)
    # Powers of fractions are exact; those of floats are rounded as the C library likes.
    often = float(Fraction(1 - _OFTEN) ** outlasted)
    rarely = float(Fraction(1 - _RARELY) ** outlasted)
    return (_OFTEN * often + _RARELY * rarely) / (often + rarely)


def newcomers(history: PlanHistory, keys: Mapping[str, StorePath]) -> frozenset[StorePath]:
    """Return the paths of packages that no update has seen yet, if there were updates.

    `keys` are the paths by `package_keys`.
    """
    if not history.steps:
        return frozenset()
    return frozenset(path for key, path in keys.items() if not history.of_package(key).seen)
