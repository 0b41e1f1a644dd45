"""The base image: what an image is built upon, and what it takes over from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from nixdock.errors import ImageError, PlanError
from nixdock.layers.hashed import buffered
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.coding import Coding
from nixdock.oci.container_config import ContainerConfig
from nixdock.oci.descriptor import Platform
from nixdock.oci.documents import HistoryDocument
from nixdock.oci.image import HistoryEntry
from nixdock.oci.limits import MOST_LAYERS
from nixdock.read.nix_store import ImageStore, read_image_store
from nixdock.read.opening import open_image
from nixdock.read.selection import select_image
from nixdock.read.stored import StoredImage, StoredLayer

__all__ = ["BaseImage", "inherit", "merged_env", "open_base_image"]


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that is built upon; its layers can be read as long as it is open."""

    layers: tuple[StoredLayer, ...]
    history: tuple[HistoryEntry, ...]
    container: Mapping[str, Any]
    platform: Platform

    def passed_on(self) -> list[PassedOnLayer]:
        """Return the layers as layers of another image."""
        return [PassedOnLayer.of(layer) for layer in self.layers]

    def store(self, store_dir: str) -> ImageStore:
        """Return the store that the layers hold; raise ImageError for a malformed one.

        Uncompressed layers are not verified here: whoever copies them does that.
        """
        return read_image_store([_Headers(layer) for layer in self.layers], store_dir)


@dataclass(frozen=True, slots=True)
class _Headers:
    """A layer of which the headers are wanted: no file of an uncompressed one is read."""

    layer: StoredLayer

    def open_tar(self) -> BinaryIO:
        if self.layer.coding is Coding.NONE:
            return buffered(self.layer.open_range())
        return self.layer.open_tar()


@contextmanager
def open_base_image(
    path: Path, name: str | None, tag: str | None, platform: Platform
) -> Iterator[BaseImage]:
    """Open the image of that name and tag at `path`, in whatever form it is.

    Of several for different platforms, choose the one for `platform`. Raise InputError when it is
    not there, ImageError when it is damaged.
    """
    with open_image(path) as file:
        image = select_image(file, name, tag, (platform.architecture, platform.variant))
        if len(image.layers) > MOST_LAYERS:
            raise PlanError(
                f"{path} has {len(image.layers)} layers, but Docker takes {MOST_LAYERS} at most;"
                " merge some of them first"
            )
        yield BaseImage(
            layers=image.layers,
            history=_history(image),
            container=image.config.config or {},
            platform=Platform(
                image.config.architecture, image.config.os, image.config.variant or None
            ),
        )


def _history(image: StoredImage) -> tuple[HistoryEntry, ...]:
    """Return the image's history if it is that of its layers, else one that is."""
    entries = image.config.history or []
    if sum(not entry.empty_layer for entry in entries) != len(image.layers):
        told = [entry for entry in entries if not entry.empty_layer][: len(image.layers)]
        nothing = HistoryDocument(created=image.config.created)
        entries = [*told, *[nothing] * (len(image.layers) - len(told))]
    return tuple(
        HistoryEntry(
            created=entry.created or None,
            created_by=entry.created_by,
            comment=entry.comment,
            author=entry.author,
            empty_layer=entry.empty_layer,
        )
        for entry in entries
    )


def inherit(
    base: Mapping[str, Any], own: ContainerConfig, *, everything: bool = False
) -> ContainerConfig:
    """Return `own` with what it takes over from the config of its base image.

    The environment or, with `everything`, all that a `docker build` takes over: a field that
    `own` has counts, sets and labels are joined, and the base's Cmd is that of its own Entrypoint.
    Raise ImageError when the base's config is not one.
    """
    given = base if everything else {"Env": base.get("Env")}
    try:
        inherited = msgspec.convert(given, ContainerConfig)
    except msgspec.ValidationError as error:
        raise ImageError(f"the base image's config: {error}") from None
    changes: dict[str, Any] = {}
    for key in ContainerConfig.__struct_fields__:
        theirs, ours = getattr(inherited, key), getattr(own, key)
        if key == "Env":
            merged = merged_env(theirs or (), ours or ())
            changes[key] = merged or ours
        elif isinstance(theirs, dict) and isinstance(ours, dict):
            changes[key] = {**theirs, **ours}
        elif ours is None and not (key == "Cmd" and own.Entrypoint is not None):
            changes[key] = theirs
    # A trigger fires in the build that uses the image as its base, and is used up by it.
    changes["OnBuild"] = own.OnBuild
    return msgspec.structs.replace(own, **changes)


def merged_env(base: Sequence[str], own: Sequence[str]) -> list[str]:
    """Join two environments: of a variable the last value, at the place of the first."""
    return list({entry.partition("=")[0]: entry for entry in (*base, *own)}.values())
