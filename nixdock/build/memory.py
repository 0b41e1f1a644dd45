"""The memory of an image: what a build writes into its config, and what the next build reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nixdock.errors import InputError, LayeringError, SpecError
from nixdock.nix.store_path import StorePath
from nixdock.oci.digests import chain_ids
from nixdock.oci.own_keys import MEMORY_KEY, PLAN_LABEL

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PlanHistory, PreviousPlan
    from nixdock.oci.documents import ConfigDocument
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.spec.layering_spec import HistorySpec

__all__ = ["memory_of", "remembered_plan"]

log = logging.getLogger(__name__)


def memory_of(spec: ImageSpec) -> Callable[[str], Mapping[str, Any] | None] | None:
    """Return what makes the memory from the chain ID of the layers, or None if there is none.

    Raise SpecError if the history in the resolved `spec` is impossible.
    """
    if spec.history is None:
        return None
    from nixdock.layering.memory import memory_document  # noqa: PLC0415 (few images remember plans)

    history = _plan_history(spec.history)
    layers = [[*map(StorePath, layer)] for layer in spec.store_layers or []]

    def memory(chain_id: str) -> Mapping[str, Any] | None:
        document = memory_document(layers, history, chain_id)
        if document is None or (layers and not (document["layers"] or "packed" in document)):
            log.warning(
                "the image has too many store paths to remember its layers; to plan the next image"
                " after it, keep the plan file or the whole image"
            )
        return document

    return memory


def _plan_history(history: HistorySpec) -> PlanHistory:
    from nixdock.layering.plan_file import checked_history  # noqa: PLC0415 (the same)

    counts = {key: (c.seen, c.changed) for key, c in history.counts.items()}
    try:
        return checked_history(history.steps, history.app_only, counts)
    except LayeringError as error:
        raise SpecError(str(error), key=error.key) from None


def remembered_plan(config: ConfigDocument, origin: str, instead: str) -> PreviousPlan | None:
    """Return the plan in the memory of an image, or in the label that memories were once in.

    Return None if it is damaged or is that of an image with other layers, and log a warning, which
    names the image as `origin` and says what happens `instead`.
    """
    from nixdock.layering.memory import parse_memory  # noqa: PLC0415 (the same)
    from nixdock.layering.plan_label import parse_plan_label  # noqa: PLC0415 (the same)

    labels = (config.config or {}).get("Labels")
    label = labels.get(PLAN_LABEL) if isinstance(labels, dict) else None
    try:
        if config.memory is not None:
            *_, chain_id = ["", *chain_ids(config.rootfs.diff_ids or [])]
            return parse_memory(config.memory, chain_id)
        return parse_plan_label(label) if isinstance(label, str) else None
    except InputError as error:
        log.warning(
            "%s: %s is ignored, and %s instead: %s",
            origin,
            f"the label {PLAN_LABEL}" if config.memory is None else MEMORY_KEY,
            instead,
            error,
        )
        return None
