"""The plan of the previous image, from wherever it is kept."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import InputError
from nixdock.layering.plan_file import parse_plan
from nixdock.layering.plan_history import PreviousPlan
from nixdock.layering.plan_label import PLAN_LABEL, parse_plan_label
from nixdock.nix.store_path import StorePath, valid_store_paths

if TYPE_CHECKING:
    from nixdock.read.opening import ImageFile

__all__ = ["read_previous"]

log = logging.getLogger(__name__)


def read_previous(path: Path) -> PreviousPlan:
    """Read the plan from a plan file, or from an image in any form.

    An image that nixdock built has it in a label; of any other, and where the label is too small
    for the layers or is damaged, the layers are what their tars hold. Raise InputError if `path` is
    neither, ImageError for a damaged image.
    """
    if _is_json(path):
        return parse_plan(path.read_bytes(), str(path))
    from nixdock.read.opening import open_image  # noqa: PLC0415 (a plan file needs none of it)

    with open_image(path) as file:
        if len(file.images) != 1:
            raise InputError(
                f"{path} holds {len(file.images)} images; give one with a single image"
            )
        labelled = _plan_in_label(file, str(path))
        if labelled is not None and labelled.layers:
            return labelled
        plan = PreviousPlan(_layers_of(file))
    return plan if labelled is None else replace(plan, history=labelled.history)


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(512).lstrip()[:1] in {b"{", b"["}
    except IsADirectoryError:
        return False
    except OSError as error:
        raise InputError(f"can't read the previous plan {path}: {error.strerror}") from None


def _plan_in_label(file: ImageFile, origin: str) -> PreviousPlan | None:
    labels = (file.images[0].config.config or {}).get("Labels")
    text = labels.get(PLAN_LABEL) if isinstance(labels, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return parse_plan_label(text)
    except InputError as error:
        log.warning(
            "%s: the label %s is not used, the layers are read instead: %s",
            origin,
            PLAN_LABEL,
            error,
        )
        return None


def _layers_of(file: ImageFile) -> tuple[tuple[StorePath, ...], ...]:
    from nixdock.read.report import inspect_images  # noqa: PLC0415 (a plan file needs none of it)

    (image,) = inspect_images(file).images
    seen: set[StorePath] = set()
    layers = []
    # What an upper layer holds again hides what is below, so it is the upper one's.
    for layer in reversed(image.layers):
        paths = [path for path in valid_store_paths(layer.store_paths) if path not in seen]
        seen.update(paths)
        if paths:
            layers.append(tuple(paths))
    return tuple(reversed(layers))
