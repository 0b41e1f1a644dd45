"""Reports on the contents of images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

from nixdock.coding.codings import Coding
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.read.opening import ImageFile
from nixdock.read.side_by_side import Advance, read_side_by_side
from nixdock.read.stored import StoredImage, StoredIndex
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.watched import watched
from nixdock.system.cores import available_cores
from nixdock.tar.reader import TarReader

__all__ = [
    "FileReport",
    "ImageReport",
    "LayerReport",
    "inspect_images",
    "list_images",
    "of_one_store",
    "store_paths_among",
    "store_paths_in",
]

# The first component with the form of a store path's name, and all components before it.
_STORE_PATH: Final = re.compile(
    rb"((?:[^/]+/)+?[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+\-._?=]{1,211})(?:/|\Z)"
)


@dataclass(frozen=True, slots=True)
class LayerReport:
    """A layer: its size in bytes, and the store paths in its tar, in the tar's order.

    If the layer was not `read`, its store paths are not known, and `digest` is empty if the image
    does not state it. Of a layer that has not been packed, `diff_id` is empty, too, and the size is
    None.
    """

    digest: str
    diff_id: str
    size: int | None
    media_type: str
    created_by: str
    comment: str
    store_paths: tuple[str, ...]
    read: bool = True

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest or None,
            "diff_id": self.diff_id or None,
            "size": self.size,
            "media_type": self.media_type,
            "created_by": self.created_by,
            "comment": self.comment,
            "store_paths": list(self.store_paths) if self.read else None,
        }


@dataclass(frozen=True, slots=True)
class ImageReport:
    """An image; `digest` is that of the manifest, or None in a docker-archive.

    Both digests are None for an image of which a layer has not been packed. `index` is the index
    with the image, if there is one, and `annotations` are those of the manifest. `script_paths` are
    store paths that are in no layer here, but that the results of scripts may add to an image that
    has not been built.
    """

    tags: tuple[str, ...]
    digest: str | None
    config_digest: str | None
    architecture: str
    os: str
    variant: str | None
    created: str | None
    config: Mapping[str, Any]
    layers: tuple[LayerReport, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    index: StoredIndex | None = None
    script_paths: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        index = None
        if self.index is not None:
            index = {"digest": self.index.digest, "annotations": dict(self.index.annotations)}
        return {
            "tags": list(self.tags),
            "digest": self.digest,
            "config_digest": self.config_digest,
            "architecture": self.architecture,
            "os": self.os,
            "variant": self.variant,
            "created": self.created,
            "config": dict(self.config),
            "annotations": dict(self.annotations),
            "index": index,
            "layers": [layer.document() for layer in self.layers],
            "script_paths": list(self.script_paths),
        }


@dataclass(frozen=True, slots=True)
class FileReport:
    """The images at a location; `format` is a `Format`, `registry` or, before a build, `spec`."""

    format: str
    images: tuple[ImageReport, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"format": str(self.format), "images": [image.document() for image in self.images]}


def inspect_images(
    file: ImageFile, cores: int | None = None, progress: Progress = NO_PROGRESS
) -> FileReport:
    """Read every layer and return what is in the images; raise ImageError for a damaged layer."""
    layers = [*dict.fromkeys(layer for image in file.images for layer in image.layers)]
    jobs = [partial(_store_paths, layer) for layer in layers]
    sizes = [layer.size for layer in layers]
    cores = available_cores() if cores is None else cores
    found = read_side_by_side(jobs, sizes, cores, progress, is_local=file.is_local)
    paths = dict(zip(layers, found, strict=True))
    return FileReport(file.format, tuple(_image(image, paths) for image in file.images))


def list_images(file: ImageFile) -> FileReport:
    """Return what the documents of the images say; no layer is read, so none is verified."""
    return FileReport(file.format, tuple(_image(image, None) for image in file.images))


def _image(image: StoredImage, paths: Mapping[StoredLayer, Sequence[str]] | None) -> ImageReport:
    """Return the report on `image`, whose layers have the store paths `paths` if they were read."""
    found = paths or {}
    in_store = of_one_store([found.get(layer, ()) for layer in image.layers])
    config = image.config
    return ImageReport(
        tags=image.names,
        digest=image.digest,
        config_digest=image.config_digest,
        architecture=config.architecture,
        os=config.os,
        variant=config.variant,
        created=config.created,
        config=config.config or {},
        annotations=image.annotations,
        index=image.index,
        layers=tuple(
            LayerReport(
                digest=_declared_digest(layer) if paths is None else layer.digest,
                diff_id=layer.diff_id,
                size=layer.size,
                media_type=layer.media_type,
                created_by=layer.history.created_by,
                comment=layer.history.comment,
                store_paths=own_paths,
                read=paths is not None,
            )
            for layer, own_paths in zip(image.layers, in_store, strict=True)
        ),
    )


def _declared_digest(layer: StoredLayer) -> str:
    """Return the digest of the blob, or nothing if only reading it would tell."""
    unknown = layer.declared_digest is None and layer.coding is not Coding.NONE
    return "" if unknown else layer.digest


def of_one_store(layers: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return, of what looks like store paths in layers, what is in the store of the image."""
    store_dir = _store_dir(path for paths in layers for path in paths)
    return [tuple(p for p in paths if p.rpartition("/")[0] == store_dir) for paths in layers]


def _store_dir(paths: Iterable[str]) -> str:
    """Guess the store directory: Nix's default if it has paths, else the one with the most."""
    counts = Counter(path.rpartition("/")[0] for path in paths)
    if not counts or DEFAULT_STORE_DIR in counts:
        return DEFAULT_STORE_DIR
    return min(counts, key=lambda directory: (-counts[directory], directory))


def _store_paths(layer: StoredLayer, advance: Advance) -> tuple[str, ...]:
    with watched(layer, advance).open_tar() as stream:
        return store_paths_in(stream, f"the tar of {layer.place}")


def store_paths_in(tar: BinaryIO, what: str = "the tar") -> tuple[str, ...]:
    """Return the names in `tar` that look like paths of any store, in the tar's order.

    Raise ImageError, with `what` as its subject, if the tar is malformed.
    """
    return store_paths_among(member.name for member in TarReader(tar, what, sparse=True))


def store_paths_among(names: Iterable[bytes]) -> tuple[str, ...]:
    """Return which of the names of a tar's members look like paths of any store, in order."""
    paths: dict[bytes, None] = {}
    last = b"\0"
    for full_name in names:
        # Members of the same store path mostly follow each other.
        if full_name.startswith(last):
            continue
        name = full_name.lstrip(b"./")
        if match := _STORE_PATH.match(name):
            paths[match[1]] = None
            start = len(full_name) - len(name)
            last = full_name[: start + match.end(1)] + b"/"
    return tuple("/" + path.decode("utf-8", "backslashreplace") for path in paths)
