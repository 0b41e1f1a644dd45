"""An image as people look at it: layers, store paths and files, with their sizes and relations.

Sizes are in bytes. What is not known is None: sizes of what was not read, references that nothing
states, and statuses without another image to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from nixdock.diff.result import Status
from nixdock.diff.side import SideKind as ViewKind

__all__ = [
    "FileView",
    "ImageView",
    "LayerKind",
    "LayerView",
    "PathView",
    "Status",
    "ViewKind",
]

_HASH = 6


class LayerKind(StrEnum):
    """What a layer holds: `OTHER` layers are those that another tool made, as in a base image."""

    STORE = "store"
    OWN_FILES = "own-files"
    DATABASE = "database"
    OTHER = "other"


class FileView(Struct, frozen=True):
    """A member of a layer's tar: `path` is absolute, with bytes that are not UTF-8 escaped.

    `kind` is "file", "directory", "symbolic link", "hard link", "character device", "block device"
    or "FIFO". Only files have a `size`, and only links a `target`.
    """

    path: str
    kind: str
    size: int = 0
    mode: int = 0
    target: str | None = None


class PathView(Struct, frozen=True):
    """A store path in the layer with the number `layer`.

    `size` is that of its NAR, `closure_size` that of the NARs of it and everything that it refers
    to, directly or not, and `added_size` the part of it that the image has only because of this
    path: what would go with it. `references` are the paths of the image that it refers to itself,
    without the path itself; they are None if they are not known, and so are the last two sizes.
    `is_app` marks what the image is for.

    Against another image: its `status`, the number of its layer there, the path of the same package
    that a new path replaces, and the reason why an unchanged path is transferred again, if it is.
    """

    path: str
    layer: int
    size: int | None = None
    closure_size: int | None = None
    added_size: int | None = None
    references: tuple[str, ...] | None = None
    is_app: bool = False
    status: Status | None = None
    other_layer: int | None = None
    replaces: str | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name, such as hello-2.12."""
        return self.path.rpartition("/")[2][33:]

    @property
    def short_hash(self) -> str:
        """The start of the hash, which tells namesakes apart."""
        return self.path.rpartition("/")[2][:_HASH]


class LayerView(Struct, frozen=True):
    """A layer; `number` counts from 1 at the bottom.

    `title` is a short text that says what is in it: the name of its most important store path, or
    what its history says. `size` is that of the blob or, in a plan, of the NARs; `tar_size` is that
    of the uncompressed tar, and `nar_size` that of the NARs of its store paths. `compression` is
    "none", "gzip", "zstd" or another word of the media type.

    `changed_by` is the number of store paths of the image whose change changes the layer: its own,
    and everything that these refer to. `has_app` says that the app is in it, or what refers to the
    app, so that every update of the app changes it. `files` are the members of its tar in their
    order, or None if they are not known.

    Against another image: its `status`, the number of the same layer there or of the one that it
    replaces, whether registries and whether classic Docker transfer it, and what changed in it.
    """

    number: int
    kind: LayerKind
    title: str
    size: int | None = None
    tar_size: int | None = None
    nar_size: int | None = None
    digest: str | None = None
    diff_id: str | None = None
    media_type: str | None = None
    compression: str | None = None
    created_by: str = ""
    comment: str = ""
    paths: tuple[PathView, ...] = ()
    changed_by: int | None = None
    has_app: bool = False
    files: tuple[FileView, ...] | None = None
    status: Status | None = None
    other_layer: int | None = None
    fetched: bool | None = None
    fetched_by_docker: bool | None = None
    changes: tuple[str, ...] = ()


class ImageView(Struct, frozen=True):
    """An image, or the plan of one; `layers` are bottom to top.

    `origin` is the text of what was read, and `kind` what that is. `size` counts what a registry
    stores: each layer once, the config and the manifest; that of a plan is the sum of its NARs. It
    is None if the size of a layer is not known. `references_from` says what stated the references
    of the store paths, or is None if nothing did.

    `command` is what a container runs: the entrypoint and its arguments; an empty `user` is root.
    `app` are the store paths that the image is for: those that the command names, or else the top
    of the reference graph. Texts are as the image has them, unescaped.
    """

    origin: str
    kind: ViewKind
    layers: tuple[LayerView, ...]
    size: int | None = None
    names: tuple[str, ...] = ()
    platform: str | None = None
    created: str | None = None
    digest: str | None = None
    config_digest: str | None = None
    document_size: int = 0
    command: tuple[str, ...] = ()
    user: str = ""
    app: tuple[str, ...] = ()
    references_from: str | None = None

    def paths(self) -> Iterator[PathView]:
        """Yield the store paths of all layers, bottom to top."""
        for layer in self.layers:
            yield from layer.paths

    @property
    def has_references(self) -> bool:
        """Whether the references of at least one store path are known."""
        return any(path.references is not None for path in self.paths())
