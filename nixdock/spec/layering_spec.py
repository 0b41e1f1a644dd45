"""The parts of an image spec about its layering: the settings, and the history of the plan."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = ["CountsSpec", "HistorySpec", "LayeringSpec"]


class LayeringSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How store paths are grouped into layers."""

    strategy: Literal["auto", "explicit", "pipeline", "popularity", "stable"] = "stable"
    volatile: Annotated[
        list[str], msgspec.Meta(description="Store paths that change often, for `stable`.")
    ] = []
    previous: Annotated[
        str | list[str] | None,
        msgspec.Meta(
            description="Location of the previous image, or its plan file, for `stable`; or a list"
            " of those that clients may have, the newest first."
        ),
    ] = None
    groups: Annotated[
        list[Any],
        msgspec.Meta(
            description="Lists of store paths, or objects with paths or closure_of, for `explicit`."
        ),
    ] = []
    plan: Annotated[
        str | None, msgspec.Meta(description="Plan file whose layers are groups, for `explicit`.")
    ] = None
    rest: Annotated[
        Literal["auto", "popularity", "stable"],
        msgspec.Meta(description="Strategy for store paths in no group, for `explicit`."),
    ] = "stable"
    pipeline: Annotated[
        list[Any] | str | None,
        msgspec.Meta(description="dockerTools' layeringPipeline, or its file, for `pipeline`."),
    ] = None
    memory: Annotated[
        bool,
        msgspec.Meta(description="Record the plan in the image config, for the next image."),
    ] = True
    label: Annotated[bool, msgspec.Meta(description="Former name of `memory`.")] = True

    @property
    def strategies(self) -> frozenset[str]:
        """The strategies that plan: the strategy and, for `explicit`, that of the rest."""
        return frozenset({self.strategy, *([self.rest] if self.strategy == "explicit" else [])})

    @property
    def previous_locations(self) -> list[str]:
        """The locations of the previous images, the newest first."""
        return list(self.previous_by_key.values())

    @property
    def previous_by_key(self) -> dict[str, str]:
        """The same locations, with their keys in the spec."""
        key = "layering.previous"
        if self.previous is None:
            return {}
        if isinstance(self.previous, str):
            return {key: self.previous}
        return {f"{key}[{i}]": text for i, text in enumerate(self.previous)}


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class CountsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many updates a package has seen, and how many of them changed it."""

    seen: _Count
    changed: _Count


class HistorySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the updates of the image have taught, as in a plan file."""

    steps: _Count = 0
    app_only: _Count = 0
    counts: dict[str, CountsSpec] = {}
