"""What an image leaves behind for the plan of the next one: its layers, and its history.

There are two forms: the plan file, for people and for version control, and the label, which
travels in the image. Both name a format version, and are checked as anything from outside is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import orjson

from nixdock.errors import InputError, LayeringError
from nixdock.layering.plan_history import ChangeCounts, PlanHistory, PreviousPlan
from nixdock.nix.store_path import StorePath

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan

__all__ = ["parse_plan", "plan_document"]


PLAN_VERSION: Final = 1

_Document = TypeVar("_Document")


Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


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
    """Read a plan file; raise LayeringError that names `origin` and the key that is wrong."""
    try:
        file = parse_versioned(data, _File)
        counts = {key: (c.seen, c.changed) for key, c in file.history.counts.items()}
        history = checked_history(file.history.steps, file.history.app_only, counts)
        return PreviousPlan(checked_layers(layer.paths for layer in file.layers), history)
    except InputError as error:
        raise LayeringError(f"{origin}: {error}") from None


def parse_versioned(data: bytes, kind: type[_Document]) -> _Document:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise LayeringError(f"not valid JSON: {error}") from None
    try:
        version = msgspec.convert(document, _Version).version
        if version != PLAN_VERSION:
            raise LayeringError(
                f"version: the plan has format {version}, but this nixdock reads format"
                f" {PLAN_VERSION}; make it anew, or use the nixdock that made it"
            )
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise LayeringError(f"not a plan: {error}") from None


def checked_layers(texts: Iterable[Iterable[str]]) -> tuple[tuple[StorePath, ...], ...]:
    """Return the layers of a plan; raise LayeringError for a text that is not a store path."""
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
    """Return the history of a plan; raise LayeringError if its counts contradict each other."""
    if app_only > steps:
        raise LayeringError(f"history.app_only: {app_only} is more than all steps, {steps}")
    for key, (seen, changed) in counts.items():
        if not changed <= seen <= steps:
            raise LayeringError(
                f"history.counts[{key!r}]: of {steps} steps, {seen} can't have seen it and"
                f" {changed} changed it"
            )
    return PlanHistory.of(
        steps, app_only, {key: ChangeCounts(*found) for key, found in counts.items()}
    )
