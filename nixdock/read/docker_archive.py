"""The images that a docker-archive's `manifest.json` lists, in a tar or a directory."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.oci.digests import sha256_digest
from nixdock.oci.documents import DockerManifestDocument
from nixdock.oci.layout import DOCKER_MANIFEST
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json
from nixdock.read.listed_layers import LayerEntry, parse_config, stored_layers
from nixdock.read.members import Members, member_name, read_whole
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.read.stored import StoredImage

__all__ = ["DockerView", "read_docker_archive"]

_MOST_IMAGES: Final = 1000
# In all images together.
_MOST_LAYERS: Final = 10_000
# Names that contain the file's digest. The digits of `HEX/layer.tar` and `HEX.tar` are no digests.
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)
_CONFIG: Final = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)


class DockerView(Struct):
    """The images, and the names of all files that belong to them.

    `budget` is how much JSON may still be read.
    """

    images: list[StoredImage] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    budget: JsonBudget = field(default_factory=JsonBudget)


def read_docker_archive(members: Members, complain: Complain) -> DockerView:
    """Read `manifest.json` and the configs, but no layers."""
    view = DockerView()
    try:
        value = parse_json(read_whole(members, DOCKER_MANIFEST, MOST_JSON), budget=view.budget)
        entries = converted(value, list[DockerManifestDocument])
    except ImageError as error:
        pass_on(error, DOCKER_MANIFEST, complain)
        return view
    layers = sum(len(entry.layers or ()) for entry in entries)
    if len(entries) > _MOST_IMAGES or layers > _MOST_LAYERS:
        message = (
            f"the archive has {len(entries)} images and {layers} layers, but at most {_MOST_IMAGES}"
            f" and {_MOST_LAYERS} are read"
        )
        complain(Problem(DOCKER_MANIFEST, message))
        return view
    for i, entry in enumerate(entries):
        place = f"{DOCKER_MANIFEST}[{i}]"
        try:
            _read_entry(view, members, entry, place, complain)
        except ImageError as error:
            pass_on(error, place, complain)
    return view


def _read_entry(
    view: DockerView,
    members: Members,
    entry: DockerManifestDocument,
    place: str,
    complain: Complain,
) -> None:
    layer_entries = [
        _layer_entry(view, members, name, f"{place}: Layers[{j}]", complain)
        for j, name in enumerate(entry.layers or ())
    ]
    config_name = members.same(member_name(entry.config))
    view.files.add(config_name)
    data = read_whole(members, config_name, min(MOST_JSON, view.budget.bytes_left))
    view.budget.bytes_left -= len(data)
    digest = sha256_digest(data)
    match = _CONFIG.fullmatch(member_name(entry.config))
    if match and f"sha256:{match[1]}" != digest:
        message = f"the config {entry.config} is damaged: its digest is {digest}"
        complain(Problem(f"{place}: Config", message, digest))
    config_place = f"config {entry.config}"
    config = parse_config(data, config_place, complain, view.budget)
    if config is None:
        return
    view.images.append(
        StoredImage(
            place=place,
            names=tuple(entry.repo_tags or ()),
            config=config,
            config_data=data,
            manifest_data=None,
            layers=stored_layers(members, layer_entries, config, config_place, complain),
        )
    )


def _layer_entry(
    view: DockerView, members: Members, text: str, place: str, complain: Complain
) -> LayerEntry | None:
    """Return the layer in the file `text`, or None if the file is missing."""
    try:
        name = members.same(member_name(text))
        members.size(name)
    except ImageError as error:
        pass_on(error, place, complain)
        return None
    view.files.add(name)
    match = _BLOB.fullmatch(name)
    return LayerEntry(name, place, digest=f"sha256:{match[1]}" if match else None)
