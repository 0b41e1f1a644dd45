"""The layers that a manifest lists, joined with what the config says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from nixdock.coding.codings import coding_of
from nixdock.errors import ImageError
from nixdock.oci.blob_annotations import blob_annotations
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import ConfigDocument, HistoryDocument
from nixdock.oci.layer_blob import LayerHistory
from nixdock.oci.media_types import layer_media_type
from nixdock.oci.untrusted_json import JsonBudget, converted, parse_json
from nixdock.read.members import Members
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.text import counted

__all__ = ["LayerEntry", "parse_config", "stored_layers"]


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
