"""Stored images: their documents, which have been read, and their layers, read on demand."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from nixdock.coding.codings import Coding, coding_of
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.hashed import HashedReader, VerifiedReader, buffered, drain
from nixdock.oci.blob_annotations import blob_annotations
from nixdock.oci.descriptor import Platform
from nixdock.oci.digests import check_digest, sha256_digest
from nixdock.oci.documents import (
    ATTESTATION_TYPE,
    ConfigDocument,
    HistoryDocument,
    IndexDocument,
    PlatformDocument,
)
from nixdock.oci.layer_blob import LayerHistory
from nixdock.oci.media_types import DOCKER_LAYER, LAYER_CODINGS, layer_media_type
from nixdock.oci.untrusted_json import JsonBudget, converted, parse_json
from nixdock.read.members import Members
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.system.file_range import Range
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layers.passed_on import ExistingBlob

__all__ = [
    "LayerEntry",
    "StoredImage",
    "StoredIndex",
    "StoredLayer",
    "has_image_layers",
    "parse_config",
    "stored_layers",
    "with_all_names",
]


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a stored image: an `ExistingBlob`.

    `declared_digest` is the blob's digest in a manifest, or None in a docker-archive that does not
    state it, and `key` names the blob by what it was made from, if the manifest says so (see
    `nixdock.layers.keys`); nothing verifies it. `annotations` are those of the descriptor that
    describe the blob. Layers are equal if they are the same blob, at
    whatever places in an image.
    """

    members: Members
    name: str
    place: str = field(compare=False)
    diff_id: str
    size: int
    media_type: str
    history: LayerHistory = field(compare=False)
    declared_digest: str | None
    key: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def coding(self) -> Coding:
        """The compression that the blob's first bytes show, which are read for that."""
        return coding_of(self.members.start(self.name))

    @cached_property
    def digest(self) -> str:
        """The digest of the blob; if none is declared, a compressed blob is read to compute it."""
        if self.declared_digest is not None:
            return self.declared_digest
        if self.coding is Coding.NONE:
            return self.diff_id
        with HashedReader(self.members.open(self.name)) as stream:
            drain(stream)
            return stream.digest

    def open(self) -> BinaryIO:
        """Open the blob; reading its last bytes raises ImageError if it is damaged."""
        return buffered(self._open_verified())

    def open_raw(self) -> io.RawIOBase:
        """Open the blob for reading, unverified."""
        return self.members.open(self.name)

    def open_tar(self) -> io.BufferedReader:
        """Open the uncompressed tar; reading its end raises ImageError if the blob is damaged.

        Raise ImageError at once if the media type is wrong.
        """
        if error := self.media_type_error():
            raise ImageError(f"{self.place}: {error}", place=self.place, key="mediaType")
        if self.coding is Coding.NONE and self.declared_digest in {None, self.diff_id}:
            return buffered(self._open_verified())
        stream = self._open_verified()
        if self.coding is not Coding.NONE:
            stream = DecompressedReader(stream, self.coding, self.place)
        return buffered(VerifiedReader(stream, self.place, self.diff_id, None, uncompressed=True))

    def open_range(self) -> Range:
        """Open the blob for reading at any position, unverified."""
        return self.members.open_range(self.name)

    def media_type_error(self) -> str | None:
        """Return a message if the media type is not that of a layer."""
        if self.media_type in LAYER_CODINGS or self.media_type == layer_media_type(self.coding):
            return None
        return f"the media type {self.media_type!r} is not that of a layer"

    def media_type_warning(self) -> str | None:
        """Return a message if some runtimes do not know the compression, or find it by itself."""
        if not self.coding.has_media_type:
            return (
                f"the layer is compressed with {self.coding}: Docker and Podman read it, but"
                " containerd and umoci do not"
            )
        # Some tools declare uncompressed layers with this type, too.
        if self.media_type == DOCKER_LAYER and self.coding is Coding.NONE:
            return None
        if LAYER_CODINGS.get(self.media_type) is not self.coding:
            return (
                f"the media type is {self.media_type!r}, but the compression is {self.coding}:"
                " Docker, Podman and containerd go by the bytes, umoci by the type"
            )
        return None

    def _open_verified(self) -> io.RawIOBase:
        return VerifiedReader(self.members.open(self.name), self.place, self.digest, self.size)


if TYPE_CHECKING:
    # Let mypy check that StoredLayer provides the interface.
    _BLOB: type[ExistingBlob] = StoredLayer


@dataclass(frozen=True)
class StoredIndex:
    """An index of images, by its digest, its annotations, and the platforms that it states."""

    digest: str
    annotations: Mapping[str, str]
    platforms: frozenset[PlatformDocument]

    @classmethod
    def of(cls, digest: str, index: IndexDocument) -> StoredIndex:
        """Return what an index with that digest says of itself."""
        stated = (
            each.platform
            for each in index.manifests
            if ATTESTATION_TYPE not in (each.annotations or {})
        )
        platforms = frozenset(platform for platform in stated if platform is not None)
        return cls(digest, index.annotations or {}, platforms)


@dataclass(frozen=True)
class StoredImage:
    """An image: its names, config and layers; in a docker-archive, it has no manifest.

    `index` is the index below the layout's `index.json` that leads to the image, if there is one.
    `declared_platform` is the platform in the descriptor of the image or its index, and
    `annotations` are those of the manifest.
    """

    place: str
    names: tuple[str, ...]
    config: ConfigDocument
    config_data: bytes
    manifest_data: bytes | None
    layers: tuple[StoredLayer, ...]
    declared_platform: PlatformDocument | None = None
    index: StoredIndex | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def platform(self) -> Platform:
        """The platform that the index states, completed by what the config states."""
        declared, config = self.declared_platform, self.config
        return Platform(
            architecture=(declared and declared.architecture) or config.architecture,
            os=(declared and declared.os) or config.os,
            variant=(declared and declared.variant) or config.variant or None,
            os_version=(declared and declared.os_version) or config.os_version or None,
        )

    @cached_property
    def config_digest(self) -> str:
        """The digest of the config, which Docker calls the image's ID."""
        return sha256_digest(self.config_data)

    @cached_property
    def digest(self) -> str | None:
        """The digest of the manifest, if there is one."""
        return None if self.manifest_data is None else sha256_digest(self.manifest_data)


def has_image_layers(image: StoredImage) -> bool:
    """Tell whether there are no layers, or one is a layer; cosign's signatures have none."""
    layers = image.layers
    return not layers or any(layer.media_type_error() is None for layer in layers)


def with_all_names(images: Sequence[StoredImage]) -> list[StoredImage]:
    """Return each image once: `index.json` has an entry for every name of an image."""
    found: dict[tuple[str, PlatformDocument | None, str | None], StoredImage] = {}
    for image in images:
        index = None if image.index is None else image.index.digest
        key = (image.place, image.declared_platform, index)
        known = found.get(key)
        names = image.names if known is None else (*known.names, *image.names)
        found[key] = replace(image, names=tuple(dict.fromkeys(names)))
    return [*found.values()]


class LayerEntry(NamedTuple):
    """A layer as a manifest lists it: a file, and the descriptor's fields if there is one."""

    name: str
    place: str
    media_type: str | None = None
    digest: str | None = None
    size: int | None = None
    key: str | None = None
    annotations: Mapping[str, str] | None = None


def parse_config(
    data: bytes, place: str, complain: Complain, budget: JsonBudget
) -> ConfigDocument | None:
    """Parse an image's config; return None if it is not valid."""
    try:
        config = converted(parse_json(data, budget=budget), ConfigDocument)
    except ImageError as error:
        pass_on(error, place, complain)
        return None
    if config.rootfs.type != "layers":
        message = f"rootfs.type is {config.rootfs.type!r}, not 'layers'"
        complain(Problem(place, message, key="rootfs.type"))
    return config


def stored_layers(
    members: Members,
    entries: Sequence[LayerEntry | None],
    config: ConfigDocument,
    place: str,
    complain: Complain,
) -> tuple[StoredLayer, ...]:
    """Join the layers that a manifest lists with the diff_ids and history of the config.

    `place` is that of the config. Leave out layers whose entry is None, because it could not be
    read, and layers without a diff_id.
    """
    diff_ids = _diff_ids(config, place, complain)
    if len(diff_ids) != len(entries):
        message = (
            f"the config has {counted(len(diff_ids), 'diff_id')}, but the manifest lists"
            f" {counted(len(entries), 'layer')}"
        )
        complain(Problem(place, message, key="rootfs.diff_ids"))
    histories = _histories(config.history or [])
    layers = []
    for entry, diff_id in zip_longest(entries, diff_ids):
        history = next(histories, LayerHistory("", ""))
        if entry is None or diff_id is None:
            continue
        try:
            layers.append(_stored_layer(members, entry, diff_id, history))
        except ImageError as error:
            pass_on(error, entry.place, complain)
    return tuple(layers)


def _diff_ids(config: ConfigDocument, place: str, complain: Complain) -> list[str | None]:
    """Return the config's diff_ids, with None for each that is not a digest."""
    diff_ids: list[str | None] = []
    for i, text in enumerate(config.rootfs.diff_ids or []):
        try:
            diff_ids.append(check_digest(text))
        except ImageError as error:
            pass_on(error, f"{place}: rootfs.diff_ids[{i}]", complain)
            diff_ids.append(None)
    return diff_ids


def _stored_layer(
    members: Members, entry: LayerEntry, diff_id: str, history: LayerHistory
) -> StoredLayer:
    name = members.same(entry.name)
    return StoredLayer(
        members=members,
        name=name,
        place=entry.place,
        diff_id=diff_id,
        size=members.size(name) if entry.size is None else entry.size,
        media_type=entry.media_type or layer_media_type(coding_of(members.start(name))),
        history=history,
        declared_digest=entry.digest,
        key=entry.key,
        annotations=blob_annotations(entry.annotations),
    )


def _histories(entries: Sequence[HistoryDocument]) -> Iterator[LayerHistory]:
    """Yield the history entries of layers; those with `empty_layer` have no layer."""
    for entry in entries:
        if not entry.empty_layer:
            yield LayerHistory(entry.created_by or "", entry.comment or "")
