"""Reading the previous plan, from a plan file or an image."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.build.memory import remembered_plan
from nixdock.errors import InputError
from nixdock.nix.store_path import StorePath, valid_store_paths
from nixdock.oci.descriptor import Platform
from nixdock.oci.location import (
    FileLocation,
    Location,
    location_text,
    parse_location,
    registry_hint,
)
from nixdock.spec.problem import below_key
from nixdock.system.input_files import read_bytes
from nixdock.system.presence import exists, is_directory, is_file, is_pipe

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.oci.documents import ConfigDocument
    from nixdock.read.opening import ImageFile
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["check_previous", "may_continue", "previous_images", "read_previous", "replaced_plan"]


def previous_images(spec: ImageSpec) -> list[Location]:
    """Return where the images are whose plans that of `spec` continues, the newest first.

    Plan files are left out: they were written before the layers were packed, and so do not know
    their blobs.
    """
    if spec.planned_closure is None:
        return []
    return [
        location
        for location in map(parse_location, spec.layering.previous_locations)
        if not isinstance(location, FileLocation) or _is_image(location.path)
    ]


def check_previous(spec: ImageSpec) -> None:
    """Raise InputError if the file of a previous image is missing.

    That is no less an error if there is nothing to plan, and so no use for it yet.
    """
    for key, text in spec.layering.previous_by_key.items():
        location = parse_location(text)
        if isinstance(location, FileLocation) and not exists(location.path):
            with below_key(key):
                raise _unreadable(location.path, missing=True, reason=os.strerror(errno.ENOENT))


def may_continue(spec: ImageSpec) -> bool:
    """Return whether `spec` is yet to be planned, and can continue plans but names none."""
    is_planned = spec.planned_closure is None or spec.single_layer
    layering = spec.layering
    return not is_planned and "stable" in layering.strategies and not layering.previous_locations


def replaced_plan(config: ConfigDocument, origin: str) -> PreviousPlan | None:
    """Return the plan that an image remembers whose layers it is not worth to read, or None."""
    plan = remembered_plan(config, origin, "the image is planned without it")
    return plan if plan is not None and plan.layers else None


def _is_image(path: Path) -> bool:
    return is_directory(path) or (is_file(path) and not _is_json(path))


def read_previous(
    location: Location, platform: Platform | None = None, access: Access | None = None
) -> PreviousPlan:
    """Return the plan in a plan file, or that of an image at any location.

    An image remembers its plan in its config. If there is no memory, or it is damaged, describes
    other layers, or has no room for the layers, return the store paths in the tars of the layers
    instead. `platform` selects one of the images for several platforms. Raise what `open_location`
    raises, and InputError if there is neither a plan file nor a single image.
    """
    if isinstance(location, FileLocation) and location.form is None:
        data = _plan_data(location.path)
        if data is not None:
            from nixdock.layering.plan_file import parse_plan  # noqa: PLC0415 (not for an image)

            return parse_plan(data, str(location.path))
    from nixdock.read.selection import select_only_image  # noqa: PLC0415 (not for a plan file)
    from nixdock.registry.opening import open_location  # noqa: PLC0415 (the same)

    with open_location(location, access, platform=platform or Platform()) as file:
        image = select_only_image(file, platform)
        text = location_text(location)
        remembered = remembered_plan(image.config, text, "the layers are read")
        if remembered is not None and remembered.layers:
            return remembered
        layers = _layers_of(replace(file, images=(image,)))
    from nixdock.layering.plan_history import PlanHistory, PreviousPlan  # noqa: PLC0415 (as above)

    return PreviousPlan(layers, PlanHistory() if remembered is None else remembered.history)


def _plan_data(path: Path) -> bytes | None:
    """Return what is in a plan file, or None if the file is an image."""
    if not is_pipe(path):
        return path.read_bytes() if _is_json(path) else None
    # It can be read only once.
    data = read_bytes(path, "the previous plan")
    if not data.strip():
        reason = "it is empty: the program that writes it may have failed"
        raise _unreadable(path, missing=False, reason=reason)
    if not _begins_json(data):
        raise _unreadable(path, missing=False, reason="an image must be in a file, not in a pipe")
    return data


def _begins_json(data: bytes) -> bool:
    return data.lstrip()[:1] in {b"{", b"["}


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _begins_json(stream.read(512))
    except IsADirectoryError:
        return False
    except OSError as error:
        missing, reason = isinstance(error, FileNotFoundError), error.strerror or str(error)
        raise _unreadable(path, missing=missing, reason=reason) from None


def _unreadable(path: Path, *, missing: bool, reason: str) -> InputError:
    hint = registry_hint(path) if missing else ""
    return InputError(f"can't read the previous plan {path}: {reason}{hint}", path=path)


def _layers_of(file: ImageFile) -> tuple[tuple[StorePath, ...], ...]:
    """Return the store paths in each layer that has any, bottom to top, each path once."""
    from nixdock.read.report import inspect_images  # noqa: PLC0415 (not needed for a plan file)

    (image,) = inspect_images(file).images
    seen: set[StorePath] = set()
    layers = []
    # A path in an upper layer hides the same path in a lower layer.
    for layer in reversed(image.layers):
        paths = [path for path in valid_store_paths(layer.store_paths) if path not in seen]
        seen.update(paths)
        if paths:
            layers.append(tuple(paths))
    return tuple(reversed(layers))
