"""Image specs: reading, resolving and writing them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nixdock.build import build
from nixdock.errors import InputError, MissingPathsError
from nixdock.nix.store_path import StorePath
from nixdock.oci.platforms import best_fitting, platform_text
from nixdock.spec import reading
from nixdock.spec.paths import absolute_file_names

if TYPE_CHECKING:
    from nixdock.build.resolve import Resolution
    from nixdock.oci.descriptor import Platform
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec

__all__ = [
    "check_no_platform",
    "check_platform",
    "read_spec",
    "realise_closure",
    "resolve_spec",
    "spec_json",
]

log = logging.getLogger(__name__)


def read_spec(file: str | os.PathLike[str]) -> ImageSpec:
    """Read an image spec, or the configuration of dockerTools' stream script, from a JSON file.

    `-` is standard input. Relative file names in a spec are relative to the spec's own directory.
    Raise InputError if the file can't be read, SpecError if it is not valid.
    """
    return reading.read_spec(Path(file))


def check_platform(spec: ImageSpec, platform: Platform | None) -> None:
    """Raise InputError if the image that `spec` describes is not for `platform`; None is any."""
    own = spec.platform
    if platform is not None and not best_fitting([(own, spec)], platform):
        raise InputError(
            f"the spec describes {spec.references[0]} for {platform_text(own)}, not for"
            f" {platform_text(platform)}"
        )


def check_no_platform(platform: Platform | None) -> None:
    """Raise InputError if a platform is given for a closure, which has none."""
    if platform is not None:
        raise InputError(
            f"a reference graph is for no platform, so {platform_text(platform)} can't be chosen;"
            " leave it out"
        )


def resolve_spec(spec: ImageSpec, *, access: Access | None = None) -> Resolution:
    """Return the resolved spec, which needs neither a graph nor SOURCE_DATE_EPOCH, and its plan.

    The plan is None if `spec` was resolved already. A base image in a registry is named by its
    digest. Raise InputError if the closure or the base image is missing or not valid, PlanError if
    no plan fits within `max_layers`, ImageError if the base image is damaged, and RegistryError if
    a registry does not send it.
    """
    return build.resolve_spec(spec, access)


def realise_closure(spec: ImageSpec, *, access: Access | None = None) -> None:
    """Let Nix build or substitute what no store has of the closure of `spec`.

    These are the outputs of its `closure.derivations`, or else the roots. Nothing is done if the
    stores have everything, or the spec has a graph or is resolved. Raise StoreError if Nix fails,
    ToolError if there is no Nix, InputError if the spec is not valid, and CacheError if a cache
    fails.
    """
    from nixdock.build.sources import store_of
    from nixdock.stores.realise import realise

    closure = spec.planned_closure
    if closure is None or closure.graph is not None:
        return
    try:
        store_of(spec, access).closure([StorePath.parse(root) for root in closure.roots])
    except MissingPathsError as error:
        log.info("%s; Nix realises it", error)
        realise(closure.derivations or closure.roots)


def spec_json(spec: ImageSpec) -> bytes:
    """Return `spec` as JSON with sorted keys and absolute file names."""
    return msgspec.json.encode(absolute_file_names(spec), order="sorted")
