"""The plan in an image's label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import orjson

from nixdock.layering.plan_file import PLAN_VERSION, Count, checked_plan, parse_versioned
from nixdock.layering.plan_history import PlanHistory

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan

__all__ = ["MOST_LABEL", "PLAN_LABEL", "parse_plan_label", "plan_label"]

PLAN_LABEL: Final = "dev.nixdock.plan"
"""The label of an image that contains its plan."""

MOST_LABEL: Final = 48 << 10
"""The greatest length of the label: every program that uses an image reads the whole config."""

_ORIGIN: Final = "the plan in the label"


class _Label(msgspec.Struct, frozen=True):
    store: str
    layers: list[Annotated[list[str], msgspec.Meta(min_length=1)]]
    steps: Count = 0
    app_only: Count = 0
    counts: dict[str, tuple[Count, Count]] = {}


def plan_label(plan: LayerPlan, most: int = MOST_LABEL) -> str | None:
    """Return the text of the label, at most `most` characters.

    Without room for the layers, the text has only the history; without room for that, it is None.
    """
    history = plan.history or PlanHistory()
    store = next((p.store_dir for layer in plan.layers for p in layer.paths), "/nix/store")
    layers = [
        [path.base_name if path.store_dir == store else path for path in layer.paths]
        for layer in plan.layers
    ]
    for stored_layers in (layers, []):
        document = {
            "version": PLAN_VERSION,
            "store": store,
            "layers": stored_layers,
            "steps": history.steps,
            "app_only": history.app_only,
            "counts": {key: [c.seen, c.changed] for key, c in history.counts.items()},
        }
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
        if len(text) <= most:
            return text
    return None


def parse_plan_label(text: str) -> PreviousPlan:
    """Read the label; the plan has no layers if the label had no room for them.

    Raise LayeringError if the label is damaged.
    """
    label = parse_versioned(text.encode("utf-8", "surrogatepass"), _Label, _ORIGIN)
    layers = (
        [path if "/" in path else f"{label.store}/{path}" for path in layer]
        for layer in label.layers
    )
    return checked_plan(_ORIGIN, layers, label.steps, label.app_only, label.counts)
