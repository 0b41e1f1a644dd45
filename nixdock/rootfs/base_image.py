"""The base image of an image, and what the image inherits from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nixdock.coding.codings import Coding
from nixdock.errors import ImageError, PlanError
from nixdock.layers.hashed import buffered
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.config_faults import config_faults
from nixdock.oci.config_keys import canonical_config
from nixdock.oci.container_config import ContainerConfig
from nixdock.oci.descriptor import Platform
from nixdock.oci.documents import HistoryDocument
from nixdock.oci.image import HistoryEntry
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import Location, location_text
from nixdock.oci.own_keys import PLAN_LABEL
from nixdock.oci.registry_reference import RegistryReference
from nixdock.read.nix_store import ImageStore, read_image_store
from nixdock.read.selection import select_image
from nixdock.read.stored import StoredImage
from nixdock.read.stored_layer import StoredLayer
from nixdock.registry.opening import open_location
from nixdock.system.typed import MisfitError, convert

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["BaseImage", "inherit", "merged_env", "open_base_image"]


class BaseImage(Struct, frozen=True):
    """A base image; its layers can be read while it is open.

    `container` is the `config` object of its image configuration, not yet validated. `pinned` is
    the digest in a registry by which the same image will always be found, and `digest` that of its
    manifest, if it has one.
    """

    layers: tuple[StoredLayer, ...]
    history: tuple[HistoryEntry, ...]
    container: Mapping[str, Any]
    platform: Platform
    pinned: RegistryReference | None = None
    digest: str | None = None

    def passed_on_layers(self) -> list[PassedOnLayer]:
        """Return the layers as layers of another image."""
        return [PassedOnLayer.of(layer) for layer in self.layers]

    def store(self, store_dir: str) -> ImageStore:
        """Return the Nix store in the layers; raise ImageError if a layer or database is malformed.

        Uncompressed layers are not verified here, but when they are copied.
        """
        return read_image_store([_UnverifiedLayer(layer) for layer in self.layers], store_dir)


class _UnverifiedLayer(Struct, frozen=True):
    """A layer whose tar headers are read; an uncompressed one is neither read whole nor hashed."""

    layer: StoredLayer

    @property
    def subject(self) -> str:
        return self.layer.subject

    def open_tar(self) -> BinaryIO:
        if self.layer.coding is Coding.NONE:
            return buffered(self.layer.open_range())
        return self.layer.open_tar()


@contextmanager
def open_base_image(
    location: Location,
    name: str | None,
    tag: str | None,
    platform: Platform,
    access: Access | None = None,
) -> Iterator[BaseImage]:
    """Open the image with that name and tag at `location` for the block.

    The image must be for `platform`, or not say what it is for. Raise what `open_location` raises,
    InputError if there is no such image, and PlanError if it has too many layers.
    """
    # The layers are read to find store paths, and again to pass them on.
    with open_location(location, access, platform=platform, keep=True) as file:
        image = select_image(file, name, tag, platform)
        if len(image.layers) > MOST_LAYERS:
            raise PlanError(
                f"the base image {location_text(location)} has {len(image.layers)} layers, but"
                f" Docker takes at most {MOST_LAYERS}; use a base image with fewer layers",
                path=location_text(location),
            )
        _check_config(image, location)
        yield BaseImage(
            layers=image.layers,
            history=_history(image),
            container=image.config.config or {},
            platform=image.platform,
            pinned=_pinned(location, image),
            digest=image.digest,
        )


def _pinned(location: Location, image: StoredImage) -> RegistryReference | None:
    if isinstance(location, RegistryReference) and image.digest is not None:
        # The digest counts, and the tag tells people, and the image's annotations, what it was.
        return replace(location, digest=image.digest)
    return None


def _check_config(image: StoredImage, location: Location) -> None:
    """Raise ImageError for what other tools would refuse in the image that inherits it."""
    for fault in config_faults(image.config):
        place = f"config of {image.place}"
        raise ImageError(
            f"{location_text(location)}: {place}: {fault.message}", place=place, key=fault.key
        )


def _history(image: StoredImage) -> tuple[HistoryEntry, ...]:
    """Return the image's history, cut or padded to one entry for each layer if it does not fit."""
    entries = image.config.history or []
    layer_entries = [entry for entry in entries if not entry.empty_layer]
    if len(layer_entries) != len(image.layers):
        missing = len(image.layers) - len(layer_entries)
        padding = [HistoryDocument(created=image.config.created)] * missing
        entries = [*layer_entries[: len(image.layers)], *padding]
    return tuple(
        HistoryEntry(
            created=entry.created,
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
    """Return `own`, completed from the config of the base image.

    Inherit the environment or, with `everything`, all that a `docker build` inherits: fields of
    `own` win, objects such as labels are merged, and the base's Cmd is dropped if `own` has an
    Entrypoint. The label in which an earlier nixdock kept the plan of the base image is not
    inherited. Raise ImageError if a field of the base's config has the wrong type.
    """
    try:
        config = canonical_config(base)
        base_config = config if everything else {"Env": config.get("Env")}
        inherited = convert(base_config, ContainerConfig)
    except (ImageError, MisfitError) as error:
        raise ImageError(
            f"the base image's config is not valid: {error}", place="config", key=error.key
        ) from None
    if inherited.Labels and PLAN_LABEL in inherited.Labels:
        labels = {key: value for key, value in inherited.Labels.items() if key != PLAN_LABEL}
        inherited = msgspec.structs.replace(inherited, Labels=labels or None)
    changes: dict[str, Any] = {}
    for key in ContainerConfig.__struct_fields__:
        base_value, own_value = getattr(inherited, key), getattr(own, key)
        if key == "Env":
            changes[key] = merged_env(base_value or (), own_value or ()) or own_value
        elif isinstance(base_value, dict) and isinstance(own_value, dict):
            changes[key] = {**base_value, **own_value}
        elif own_value is None and not (key == "Cmd" and own.Entrypoint is not None):
            changes[key] = base_value
    # Docker runs OnBuild triggers once, in the first build on top of their image.
    changes["OnBuild"] = own.OnBuild
    return msgspec.structs.replace(own, **changes)


def merged_env(base: Sequence[str], own: Sequence[str]) -> list[str]:
    """Merge two environments: each variable has its first position and its last value."""
    return list({entry.partition("=")[0]: entry for entry in (*base, *own)}.values())
