"""Plan files: the layers and the history of an image, from which the next image is planned.

A plan has two formats: the plan file, for people and for version control, and the memory in the
image config. Both contain a format version, and both are checked as untrusted input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from nixdock.errors import InputError, LayeringError
from nixdock.layering.plan_history import MOST_COUNTED, ChangeCounts, PlanHistory, PreviousPlan
from nixdock.nix.store_path import StorePath
from nixdock.system.strict_json import parse_strictly
from nixdock.system.typed import MisfitError, convert

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan

__all__ = [
    "PLAN_VERSION",
    "Count",
    "StoreDir",
    "checked_history",
    "checked_plan",
    "convert_versioned",
    "parse_plan",
    "parse_versioned",
    "plan_document",
]

PLAN_VERSION: Final = 1

_Document = TypeVar("_Document")

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNTED)]

# The greatest length of a path in Linux. An image states its store directory once, but each of its
# store paths is read with it: without a limit, a small image could take all memory.
StoreDir = Annotated[str, msgspec.Meta(max_length=4096)]


class _FileCounts(msgspec.Struct, frozen=True):
    seen: Count
    changed: Count


class _FileHistory(msgspec.Struct, frozen=True):
    steps: Count = 0
    app_only: Count = 0
    counts: dict[str, _FileCounts] = {}


class _FileLayer(msgspec.Struct, frozen=True):
    paths: Annotated[list[str], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True):
    layers: list[_FileLayer]
    history: _FileHistory = _FileHistory()


class _Version(msgspec.Struct, frozen=True):
    version: int


def plan_document(plan: LayerPlan, strategy: str, history: PlanHistory | None) -> dict[str, Any]:
    """Return the JSON object of a plan file."""
    document: dict[str, Any] = {
        "version": PLAN_VERSION,
        "strategy": strategy,
        "layers": [{"paths": [*layer.paths], "nar_size": layer.nar_size} for layer in plan.layers],
    }
    if plan.removed:
        document["removed"] = sorted(plan.removed)
    if history is not None:
        document["history"] = {
            "steps": history.steps,
            "app_only": history.app_only,
            "counts": {
                key: {"seen": counts.seen, "changed": counts.changed}
                for key, counts in history.counts.items()
            },
        }
    return document


def parse_plan(data: bytes, origin: str) -> PreviousPlan:
    """Read a plan file.

    Raise LayeringError, which names `origin`, if it is not JSON, not a plan, or contradicts itself.
    """
    file = parse_versioned(data, _File, origin)
    history = file.history
    return checked_plan(
        origin,
        (layer.paths for layer in file.layers),
        history.steps,
        history.app_only,
        {key: (counts.seen, counts.changed) for key, counts in history.counts.items()},
    )


def parse_versioned(data: bytes, kind: type[_Document], origin: str) -> _Document:
    """Read JSON as `kind`; raise LayeringError if it is not that, or has another version."""
    try:
        document = parse_strictly(data)
    except ValueError as error:
        raise LayeringError(f"{origin} is not valid JSON: {error}") from None
    return convert_versioned(document, kind, origin)


def convert_versioned(document: Any, kind: type[_Document], origin: str) -> _Document:
    """Convert a JSON document to `kind`; raise LayeringError as `parse_versioned` does."""
    try:
        version = convert(document, _Version).version
        if version != PLAN_VERSION:
            raise LayeringError(
                f"{origin}: the plan has format {version}, but this nixdock reads format"
                f" {PLAN_VERSION}; make a new plan, or use the nixdock that made this one",
                key="version",
            )
        return convert(document, kind)
    except MisfitError as error:
        raise LayeringError(f"{origin} is not a plan: {error}", key=error.key or None) from None


def checked_plan(
    origin: str,
    layers: Iterable[Iterable[str]],
    steps: int,
    app_only: int,
    counts: Mapping[str, tuple[int, int]],
) -> PreviousPlan:
    """Return the plan; raise LayeringError if a text is no store path or counts are impossible.

    `counts` are the numbers of updates that saw and that changed each package.
    """
    try:
        history = checked_history(steps, app_only, counts)
        return PreviousPlan(_checked_layers(layers), history)
    except LayeringError as error:
        raise LayeringError(f"{origin}: {error}", path=error.path, key=error.key) from None


def _checked_layers(texts: Iterable[Iterable[str]]) -> tuple[tuple[StorePath, ...], ...]:
    layers = []
    for number, paths in enumerate(texts):
        layer = []
        for i, text in enumerate(paths):
            try:
                layer.append(StorePath.parse(text))
            except InputError as error:
                key = f"layers[{number}].paths[{i}]"
                raise LayeringError(f"{key}: {error}", key=key) from None
        layers.append(tuple(layer))
    return tuple(layers)


def checked_history(
    steps: int, app_only: int, counts: Mapping[str, tuple[int, int]]
) -> PlanHistory:
    """Return the history; raise LayeringError if the counts are impossible."""
    if app_only > steps:
        key = "history.app_only"
        raise LayeringError(f"{key}: {app_only} is more than history.steps, {steps}", key=key)
    for package, (seen, changed) in counts.items():
        if not changed <= seen <= steps:
            key = f"history.counts[{package!r}]"
            raise LayeringError(
                f"{key}: changed ({changed}) must not exceed seen ({seen}), nor seen exceed"
                f" history.steps ({steps})",
                key=key,
            )
    return PlanHistory.of(
        steps,
        app_only,
        {package: ChangeCounts(*numbers) for package, numbers in counts.items()},
    )
