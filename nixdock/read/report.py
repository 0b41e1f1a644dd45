"""Reports on the contents of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field

from nixdock.coding.codings import Coding
from nixdock.layers.hashed import buffered, drain
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.read.contents import FileEntry, LayerContents, read_contents
from nixdock.read.opening import ImageFile
from nixdock.read.reference_search import SearchedReader
from nixdock.read.side_by_side import Advance, read_side_by_side
from nixdock.read.stored import StoredImage, StoredIndex
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.watched import watched
from nixdock.system.cores import available_cores

__all__ = [
    "FileReport",
    "ImageReport",
    "LayerReport",
    "inspect_images",
    "list_images",
    "of_one_store",
]


class LayerReport(Struct, frozen=True):
    """A layer: its size in bytes, and the store paths in its tar, in the tar's order.

    If the layer was not `read`, its store paths are not known, and `digest` is empty if the image
    does not state it. Of a layer that has not been packed, `diff_id` is empty, too, and the size is
    None. `tar_size` is that of the uncompressed tar in bytes, and `nar_sizes` are those of the NARs
    of the store paths as far as they are in this layer; `files` are the members of the tar. They
    are left out where they were not read. `found` are the hashes of store paths that are named in
    the files of each store path, or None if these were not searched; `links` are the targets of the
    symlinks outside of store paths.
    """

    digest: str
    diff_id: str
    size: int | None
    media_type: str
    created_by: str
    comment: str
    store_paths: tuple[str, ...]
    read: bool = True
    tar_size: int | None = None
    nar_sizes: Mapping[str, int] = field(default_factory=dict)
    files: tuple[FileEntry, ...] | None = None
    has_nix_database: bool = False
    found: Mapping[str, frozenset[str]] | None = None
    links: Mapping[str, str] = field(default_factory=dict)

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


class ImageReport(Struct, frozen=True):
    """An image; `digest` is that of the manifest, or None in a docker-archive.

    Both digests are None for an image of which a layer has not been packed. `index` is the index
    with the image, if there is one, and `annotations` are those of the manifest. `script_paths` are
    store paths that are in no layer here, but that the results of scripts may add to an image that
    has not been built. The sizes of the config and the manifest are in bytes.
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
    config_size: int | None = None
    manifest_size: int | None = None

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


class FileReport(Struct, frozen=True):
    """The images at a location; `format` is a `Format`, `registry` or, before a build, `spec`."""

    format: str
    images: tuple[ImageReport, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"format": str(self.format), "images": [image.document() for image in self.images]}


class _Read(Struct, frozen=True):
    """What was found in a layer, and the size of its tar."""

    contents: LayerContents
    tar_size: int


def inspect_images(
    file: ImageFile,
    cores: int | None = None,
    progress: Progress = NO_PROGRESS,
    *,
    with_files: bool = False,
) -> FileReport:
    """Read every layer and return what is in the images; raise ImageError for a damaged layer.

    The members of the layers are listed only `with_files`.
    """
    layers = [*dict.fromkeys(layer for image in file.images for layer in image.layers)]
    jobs = [partial(_contents, layer, with_files=with_files) for layer in layers]
    sizes = [layer.size for layer in layers]
    cores = available_cores() if cores is None else cores
    found = read_side_by_side(jobs, sizes, cores, progress, is_local=file.is_local)
    contents = dict(zip(layers, found, strict=True))
    return FileReport(file.format, tuple(_image(image, contents) for image in file.images))


def list_images(file: ImageFile) -> FileReport:
    """Return what the documents of the images say; no layer is read, so none is verified."""
    return FileReport(file.format, tuple(_image(image, None) for image in file.images))


def _image(image: StoredImage, found: Mapping[StoredLayer, _Read] | None) -> ImageReport:
    """Return the report on `image`, in whose layers this was found if they were read."""
    known = found or {}
    contents = [
        known[layer].contents if layer in known else LayerContents() for layer in image.layers
    ]
    in_store = of_one_store([each.store_paths for each in contents])
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
        config_size=len(image.config_data),
        manifest_size=None if image.manifest_data is None else len(image.manifest_data),
        layers=tuple(
            LayerReport(
                digest=_declared_digest(layer) if found is None else layer.digest,
                diff_id=layer.diff_id,
                size=layer.size,
                media_type=layer.media_type,
                created_by=layer.history.created_by,
                comment=layer.history.comment,
                store_paths=own_paths,
                read=found is not None,
                tar_size=known[layer].tar_size if layer in known else None,
                nar_sizes={path: each.nar_sizes[path] for path in own_paths},
                files=each.files,
                has_nix_database=each.has_nix_database,
                found=each.found,
                links=each.links,
            )
            for layer, own_paths, each in zip(image.layers, in_store, contents, strict=True)
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


def _contents(layer: StoredLayer, advance: Advance, *, with_files: bool) -> _Read:
    with SearchedReader(watched(layer, advance).open_tar()) as searched:
        stream = buffered(searched)
        contents = read_contents(stream, layer.subject, searched=searched, with_files=with_files)
        drain(stream)
        return _Read(contents, searched.size)
