"""The plan in a label of images that earlier versions of nixdock have built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from nixdock.errors import LayeringError
from nixdock.layering.plan_file import Count, StoreDir, checked_plan, parse_versioned

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan

__all__ = ["parse_plan_label"]

_ORIGIN: Final = "the plan in the label"

_MOST_TEXT: Final = 48 << 10
"""The greatest number of characters that earlier versions have written."""


class _Label(msgspec.Struct, frozen=True):
    store: StoreDir
    layers: list[Annotated[list[str], msgspec.Meta(min_length=1)]]
    steps: Count = 0
    app_only: Count = 0
    counts: dict[str, tuple[Count, Count]] = {}


def parse_plan_label(text: str) -> PreviousPlan:
    """Read the label; the plan has no layers if the label had no room for them.

    Raise LayeringError if the label is damaged.
    """
    if len(text) > _MOST_TEXT:
        raise LayeringError(f"{_ORIGIN} is longer than {_MOST_TEXT} characters")
    label = parse_versioned(text.encode("utf-8", "surrogatepass"), _Label, _ORIGIN)
    layers = (
        [path if "/" in path else f"{label.store}/{path}" for path in layer]
        for layer in label.layers
    )
    return checked_plan(_ORIGIN, layers, label.steps, label.app_only, label.counts)
