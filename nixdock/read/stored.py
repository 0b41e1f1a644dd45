"""An image that was found: its documents, as parsed and as bytes, and its layers, lazily."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import BinaryIO, NamedTuple

from nixdock.errors import ImageError
from nixdock.layers.decompression import DecompressedReader
from nixdock.layers.hashed import HashedReader, VerifiedReader, buffered, drain
from nixdock.oci.coding import MAGIC_SIZE, Coding, coding_of
from nixdock.oci.digests import check_digest, sha256_digest
from nixdock.oci.documents import ConfigDocument, HistoryDocument, PlatformDocument
from nixdock.oci.layer_blob import LayerHistory
from nixdock.oci.media_types import DOCKER_LAYER, LAYER_CODINGS, layer_media_type
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.read.members import Members
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.system.file_range import Range

__all__ = ["LayerEntry", "StoredImage", "StoredLayer", "diff_ids_of", "parse_config", "settle"]


@dataclass(frozen=True)
class StoredLayer:
    """A layer in an image that exists; it satisfies `nixdock.layer.Layer`.

    `declared_digest` is what a manifest says of the blob, None where only the config speaks of
    the layer. `coding` is how the blob's first bytes say that it is compressed. Layers are equal
    when their bytes are the same, wherever in an image they stand.
    """

    members: Members
    name: str
    place: str = field(compare=False)
    diff_id: str
    size: int
    media_type: str
    coding: Coding
    history: LayerHistory = field(compare=False)
    declared_digest: str | None

    @cached_property
    def digest(self) -> str:
        """The digest of the blob; where none is declared, a compressed blob is read for it."""
        if self.declared_digest is not None:
            return self.declared_digest
        if self.coding is Coding.NONE:
            return self.diff_id
        with HashedReader(self.members.open(self.name)) as stream:
            drain(stream)
            return stream.digest

    def open(self) -> BinaryIO:
        """Open the blob; reading raises ImageError instead of giving the end of wrong bytes."""
        return buffered(self._open_verified())

    def open_raw(self) -> io.RawIOBase:
        """Open the blob for reading, unverified."""
        return self.members.open(self.name)

    def open_tar(self) -> io.BufferedReader:
        """Open the uncompressed tar; reading its end raises ImageError if a byte was wrong."""
        if error := self.media_type_error():
            raise ImageError(f"{self.place}: {error}")
        if self.coding is Coding.NONE and self.declared_digest in {None, self.diff_id}:
            return buffered(self._open_verified())
        stream = self._open_verified()
        if self.coding is not Coding.NONE:
            stream = DecompressedReader(stream, self.coding, self.place)
        return buffered(VerifiedReader(stream, f"{self.place}, uncompressed,", self.diff_id, None))

    def open_range(self) -> Range:
        """Open the blob for reading anywhere in it, unverified."""
        return self.members.open_range(self.name)

    def media_type_error(self) -> str | None:
        """Return what is wrong with the media type, if anything."""
        declared = LAYER_CODINGS.get(self.media_type)
        if declared is None:
            return f"its media type {self.media_type!r} is not that of a layer"
        in_any_case = self.media_type == DOCKER_LAYER and self.coding is Coding.NONE
        if declared is not self.coding and not in_any_case:
            return f"its media type is {self.media_type!r}, but its compression is {self.coding}"
        return None

    def _open_verified(self) -> io.RawIOBase:
        return VerifiedReader(self.members.open(self.name), self.place, self.digest, self.size)


@dataclass(frozen=True)
class StoredImage:
    """An image: its names, config and layers; a docker-archive has no manifest.

    `from_index` tells that an index, not the layout itself, refers to it; `declared_platform` is
    what is said of it there.
    """

    place: str
    names: tuple[str, ...]
    config: ConfigDocument
    config_data: bytes
    manifest_data: bytes | None
    layers: tuple[StoredLayer, ...]
    declared_platform: PlatformDocument | None = None
    from_index: bool = False

    @cached_property
    def config_digest(self) -> str:
        """The digest of the config, which Docker calls the image's ID."""
        return sha256_digest(self.config_data)

    @cached_property
    def digest(self) -> str | None:
        """The digest of the manifest, if there is one."""
        return None if self.manifest_data is None else sha256_digest(self.manifest_data)


class LayerEntry(NamedTuple):
    """A layer as a manifest names it: a file, and the blob's media type and digest, if it says."""

    name: str
    place: str
    media_type: str | None = None
    digest: str | None = None
    size: int | None = None


def parse_config(data: bytes, place: str, complain: Complain) -> ConfigDocument | None:
    """Parse an image's config; None when that can't be done."""
    try:
        config = converted(parse_json(data), ConfigDocument)
    except ImageError as error:
        pass_on(error, place, complain)
        return None
    if config.rootfs.type != "layers":
        complain(Problem(place, f"rootfs.type is {config.rootfs.type!r}, not 'layers'"))
    return config


def diff_ids_of(config: ConfigDocument, place: str, complain: Complain) -> list[str | None]:
    """Return the config's diff_ids; what is no digest is None."""
    checked: list[str | None] = []
    for i, text in enumerate(config.rootfs.diff_ids or []):
        try:
            checked.append(check_digest(text))
        except ImageError as error:
            pass_on(error, f"{place}: rootfs.diff_ids[{i}]", complain)
            checked.append(None)
    return checked


def settle(
    members: Members,
    found: Sequence[LayerEntry | None],
    config: ConfigDocument,
    place: str,
    complain: Complain,
) -> tuple[StoredLayer, ...]:
    """Join the layers that a manifest names with the diff_ids and history of the config.

    What is missing, or None because it could not be read, is left out.
    """
    diff_ids = diff_ids_of(config, place, complain)
    if len(diff_ids) != len(found):
        message = f"it has {len(diff_ids)} diff_ids, but there are {len(found)} layers"
        complain(Problem(place, message))
    histories = _histories(config.history or [])
    layers = []
    for layer, diff_id in zip_longest(found, diff_ids):
        history = next(histories, LayerHistory("", ""))
        if layer is None or diff_id is None:
            continue
        try:
            layers.append(_settled(members, layer, diff_id, history))
        except ImageError as error:
            pass_on(error, layer.place, complain)
    return tuple(layers)


def _settled(
    members: Members, layer: LayerEntry, diff_id: str, history: LayerHistory
) -> StoredLayer:
    name = members.same(layer.name)
    with members.open(name) as stream:
        coding = coding_of(stream.read(MAGIC_SIZE) or b"")
    return StoredLayer(
        members=members,
        name=name,
        place=layer.place,
        diff_id=diff_id,
        size=members.size(name) if layer.size is None else layer.size,
        media_type=layer.media_type or layer_media_type(coding),
        coding=coding,
        history=history,
        declared_digest=layer.digest,
    )


def _histories(entries: Sequence[HistoryDocument]) -> Iterator[LayerHistory]:
    for entry in entries:
        if not entry.empty_layer:
            yield LayerHistory(entry.created_by or "", entry.comment or "")
