"""What an image leaves behind for the plan of the next one: its layers, and its history.

There are two forms: the plan file, for people and for version control, and the label, which
travels in the image. Both name a format version, and are checked as anything from outside is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import orjson

from nixdock.errors import InputError, PlanError
from nixdock.store_path import StorePath

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan

__all__ = [
    "MOST_LABEL",
    "NEVER_SEEN",
    "PLAN_LABEL",
    "ChangeCounts",
    "PlanHistory",
    "PreviousPlan",
    "parse_plan",
    "parse_plan_label",
    "plan_document",
    "plan_label",
]

PLAN_LABEL: Final = "dev.nixdock.plan"
"""The label of an image that its plan is in."""

MOST_LABEL: Final = 48 << 10
"""The length that the label may have: configs are read whole, by everybody."""

_VERSION: Final = 1

_Document = TypeVar("_Document")


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """The updates that a package was there before and after, and those that changed it itself."""

    seen: int
    changed: int


NEVER_SEEN: Final = ChangeCounts(0, 0)


@dataclass(frozen=True, slots=True)
class PlanHistory:
    """The updates that an image has had, and those of the app alone among them.

    `counts` are the packages' by key; one that is not in it was there in all updates, and never
    changed by itself.
    """

    steps: int = 0
    app_only: int = 0
    counts: Mapping[str, ChangeCounts] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, steps: int, app_only: int, counts: Mapping[str, ChangeCounts]) -> PlanHistory:
        """Hold `counts`, less those that go without saying."""
        usual = ChangeCounts(steps, 0)
        told = {key: c for key, c in sorted(counts.items()) if c != usual}
        return cls(steps, app_only, told)

    def of_package(self, key: str) -> ChangeCounts:
        """Return the counts of a package that the image has."""
        return self.counts.get(key) or ChangeCounts(self.steps, 0)


@dataclass(frozen=True, slots=True)
class PreviousPlan:
    """The store layers of an image, bottom to top, their paths as packed, and its history."""

    layers: tuple[tuple[StorePath, ...], ...]
    history: PlanHistory = PlanHistory()


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _FileCounts(msgspec.Struct, frozen=True):
    seen: _Count
    changed: _Count


class _FileHistory(msgspec.Struct, frozen=True):
    steps: _Count = 0
    app_only: _Count = 0
    counts: dict[str, _FileCounts] = {}


class _FileLayer(msgspec.Struct, frozen=True):
    paths: Annotated[list[str], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True):
    layers: list[_FileLayer]
    history: _FileHistory = _FileHistory()


class _Label(msgspec.Struct, frozen=True):
    store: str
    layers: list[Annotated[list[str], msgspec.Meta(min_length=1)]]
    steps: _Count = 0
    app_only: _Count = 0
    counts: dict[str, tuple[_Count, _Count]] = {}


class _Version(msgspec.Struct, frozen=True):
    version: int


def plan_document(plan: LayerPlan, strategy: str, history: PlanHistory | None) -> dict[str, Any]:
    """Return the JSON object of a plan file."""
    document: dict[str, Any] = {
        "version": _VERSION,
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
    """Read a plan file; raise PlanError that names `origin` and the key that is wrong."""
    try:
        file = _converted(data, _File)
        counts = {key: (c.seen, c.changed) for key, c in file.history.counts.items()}
        history = _history(file.history.steps, file.history.app_only, counts)
        return PreviousPlan(_layers(layer.paths for layer in file.layers), history)
    except InputError as error:
        raise PlanError(f"{origin}: {error}") from None


def plan_label(plan: LayerPlan, most: int = MOST_LABEL) -> str | None:
    """Return the text of the label, or None if even the history alone is longer than `most`."""
    history = plan.history or PlanHistory()
    store = next((p.store_dir for layer in plan.layers for p in layer.paths), "/nix/store")
    layers = [
        [path.base_name if path.store_dir == store else path for path in layer.paths]
        for layer in plan.layers
    ]
    for told in (layers, []):
        document = {
            "version": _VERSION,
            "store": store,
            "layers": told,
            "steps": history.steps,
            "app_only": history.app_only,
            "counts": {key: [c.seen, c.changed] for key, c in history.counts.items()},
        }
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
        if len(text) <= most:
            return text
    return None


def parse_plan_label(text: str) -> PreviousPlan:
    """Read the label; its layers may have had no room. Raise PlanError if it is damaged."""
    label = _converted(text.encode("utf-8", "surrogatepass"), _Label)
    layers = _layers(
        [path if "/" in path else f"{label.store}/{path}" for path in layer]
        for layer in label.layers
    )
    return PreviousPlan(layers, _history(label.steps, label.app_only, label.counts))


def _converted(data: bytes, kind: type[_Document]) -> _Document:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise PlanError(f"not valid JSON: {error}") from None
    try:
        version = msgspec.convert(document, _Version).version
        if version != _VERSION:
            raise PlanError(
                f"version: the plan has format {version}, but this nixdock reads format"
                f" {_VERSION}; make it anew, or use the nixdock that made it"
            )
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise PlanError(f"not a plan: {error}") from None


def _layers(texts: Iterable[Iterable[str]]) -> tuple[tuple[StorePath, ...], ...]:
    seen: dict[StorePath, int] = {}
    layers = []
    for number, paths in enumerate(texts):
        layer = []
        for i, text in enumerate(paths):
            try:
                path = StorePath.parse(text)
            except InputError as error:
                raise PlanError(f"layers[{number}].paths[{i}]: {error}") from None
            if path in seen:
                raise PlanError(
                    f"layers[{number}].paths[{i}]: {path} is in layers[{seen[path]}] already"
                )
            seen[path] = number
            layer.append(path)
        layers.append(tuple(layer))
    return tuple(layers)


def _history(steps: int, app_only: int, counts: Mapping[str, tuple[int, int]]) -> PlanHistory:
    if app_only > steps:
        raise PlanError(f"history.app_only: {app_only} is more than all steps, {steps}")
    for key, (seen, changed) in counts.items():
        if not changed <= seen <= steps:
            raise PlanError(
                f"history.counts[{key!r}]: of {steps} steps, {seen} can't have seen it and"
                f" {changed} changed it"
            )
    return PlanHistory.of(
        steps, app_only, {key: ChangeCounts(*found) for key, found in counts.items()}
    )
