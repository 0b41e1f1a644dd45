"""What is served of images that exist: in files, in directories of them, and in registries."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import CHUNK, VerifiedReader
from nixdock.oci.descriptor import Blob
from nixdock.oci.documents import IndexDocument
from nixdock.oci.layout import DIR_VERSION, DOCKER_MANIFEST, INDEX, MARKER
from nixdock.oci.location import FileLocation, Location
from nixdock.oci.media_types import MANIFEST_MEDIA_TYPE
from nixdock.oci.referrers import referrer_of
from nixdock.oci.registry_reference import RegistryReference
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json
from nixdock.read.members import read_whole
from nixdock.read.opening import ImageFile
from nixdock.registry.opening import open_location
from nixdock.runtime.catalogue import Offer
from nixdock.runtime.shelf import Shelf
from nixdock.system.presence import exists, is_directory
from nixdock.system.scratch import is_stream
from nixdock.system.writers import FileWriter
from nixdock.transfer.opening import Selection, open_source
from nixdock.transfer.platforms import choose
from nixdock.transfer.source import LayoutSource, Source
from nixdock.transfer.tree import Tree, parse_index, read_tree

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["offer_all", "offer_location"]

_ONE: Final = Selection()
_OF_IMAGES: Final = (MARKER, INDEX, DOCKER_MANIFEST, DIR_VERSION)


def offer_all(
    location: Location, shelf: Shelf, stack: ExitStack, access: Access | None = None
) -> list[Offer]:
    """Return all images at a location, as they are, which can be read until `stack` is closed.

    They are those of a layout, each with what refers to it, and of the files in a directory that is
    no layout itself. A docker-archive has no manifest: one is made, and its layers are compressed.
    Raise InputError if there is no image, and what `open_source` raises.
    """
    match location:
        case FileLocation(path, None, None) if _is_folder(path):
            return _of_folder(path, shelf, stack, access)
        case FileLocation() if (file := _opened(location, stack)) and file.layout is not None:
            return _of_layout(file)
    every = Selection(every=isinstance(location, RegistryReference))
    opened = offer_location(location, shelf, every, access=access)
    return [stack.enter_context(opened)]


def _opened(location: FileLocation, stack: ExitStack) -> ImageFile | None:
    """Open a file; return None if what is named there may be an artifact, or can be read once."""
    if location.name is not None and is_stream(location.path):
        return None
    try:
        return stack.enter_context(open_location(location))
    except (InputError, ImageError):
        if location.name is None:
            raise
        return None


def _is_folder(path: Path) -> bool:
    return is_directory(path) and not any(exists(path / name) for name in _OF_IMAGES)


def _of_folder(folder: Path, shelf: Shelf, stack: ExitStack, access: Access | None) -> list[Offer]:
    try:
        # Hidden files may be there only for the moment.
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"can't read {folder}: {error.strerror}", path=folder) from None
    for path in paths:
        if is_stream(path):
            message = f"{path} is a FIFO, a socket or a device, and not a file of an image; move it"
            raise InputError(message, path=path)
    images = [path for path in paths if not _is_folder(path)]
    if not images:
        raise InputError(f"{folder} has no images", path=folder)
    return [
        offer for path in images for offer in offer_all(FileLocation(path), shelf, stack, access)
    ]


def _of_layout(file: ImageFile) -> list[Offer]:
    source = LayoutSource(file.members, file.path)
    index = converted(parse_json(read_whole(file.members, INDEX, MOST_JSON), INDEX), IndexDocument)
    entries = map(source.manifest, index.manifests)
    trees = {entry.digest: _whole_tree(source, entry, file) for entry in entries}
    wanted = {image.entry for image in file.images}
    images = {entry: tree for entry, tree in trees.items() if entry in wanted}
    others = [tree for entry, tree in trees.items() if entry not in images]
    if not images:
        raise InputError(f"{file.path} has no images", path=file.path)
    names = _names(file, images)
    offers = {}
    for tree in images.values():
        digest = tree.manifest.digest
        own = tuple(names[digest])
        if not own and len(images) > 1:
            own = (f"image@{digest}",)
        about = _about({each.digest for each in tree.all_manifests()}, others)
        offers[digest] = _offer(source, own, tree, about)
    return [*offers.values()]


def _names(file: ImageFile, images: Mapping[str, Tree]) -> Mapping[str, dict[str, None]]:
    """Return the names in a layout by the manifests that they stand for.

    `images` are by the digests of the entries that have the names: an image may be in several
    indexes, each of which has a name, and have one itself.
    """
    names = defaultdict[str, dict[str, None]](dict)
    for image in file.images:
        if tree := images.get(image.entry or ""):
            names[tree.manifest.digest] |= dict.fromkeys(image.names)
    return names


def _whole_tree(source: LayoutSource, manifest: Blob, file: ImageFile) -> Tree:
    """Read an image or an index; of an index that lacks images, only the one that is there."""
    if not _is_complete(source, manifest):
        there = {image.manifest_data for image in file.images if image.entry == manifest.digest}
        if len(there) == 1 and (data := there.pop()):
            media_type = parse_json(data).get("mediaType") or MANIFEST_MEDIA_TYPE
            return read_tree(source, Blob(media_type, data))
        manifest = choose(source, manifest, None)
    return read_tree(source, manifest)


def _is_complete(source: LayoutSource, manifest: Blob) -> bool:
    index = parse_index(manifest)
    return index is None or all(source.has(each.digest) for each in index.manifests)


def _about(digests: Iterable[str], others: Iterable[Tree]) -> list[Tree]:
    """Return those of `others` that belong to one of the manifests, or to one that does."""
    known, left = set(digests), list(others)
    found: list[Tree] = []
    while True:
        nearer = [tree for tree in left if _subject(tree) in known]
        if not nearer:
            return found
        found += nearer
        left = [tree for tree in left if tree not in nearer]
        known |= {tree.manifest.digest for tree in nearer}


def _subject(tree: Tree) -> str | None:
    subject = referrer_of(tree.manifest).subject
    return None if subject is None else subject.digest


@contextmanager
def offer_location(
    location: Location,
    shelf: Shelf,
    selection: Selection = _ONE,
    *,
    access: Access | None = None,
    compress: bool = True,
) -> Iterator[Offer]:
    """Yield an image that exists, as it is, until the block ends.

    A docker-archive has no manifest: one is made, and with `compress`, its layers are compressed.
    Raise what `open_source` raises.
    """
    with open_source(location, selection, access, compress=compress) as opened:
        remote = isinstance(location, RegistryReference)
        yield _offer(opened.source, opened.names, opened.tree, shelf=shelf if remote else None)


def _offer(
    source: Source,
    names: tuple[str, ...],
    tree: Tree,
    about: Iterable[Tree] = (),
    *,
    shelf: Shelf | None = None,
) -> Offer:
    trees = (tree, *about)
    return Offer(
        names=names,
        manifest=tree.manifest,
        manifests={each.digest: each for one in trees for each in one.all_manifests()},
        blobs={
            each.digest: _CopiedBlob(source, each.digest, each.size, shelf)
            for one in trees
            for each in one.all_blobs()
        },
        # The config is the last blob; an index has none.
        config=tree.blobs[-1].digest if tree.blobs else None,
    )


class _CopiedBlob(Struct, frozen=True):
    """A blob of an existing image; one from a registry goes through a file of the shelf."""

    source: Source
    digest: str
    size: int
    shelf: Shelf | None

    def open(self) -> io.RawIOBase:
        if self.shelf is None:
            return self.source.open(self.digest)
        return self.shelf.open(self.digest, self.size, self._make)

    def _make(self, file: Path) -> None:
        place = f"{self.source.place}: the blob {self.digest}"
        with (
            VerifiedReader(self.source.open(self.digest), place, self.digest, self.size) as stream,
            FileWriter(file) as writer,
        ):
            while chunk := stream.read(CHUNK):
                writer.write(chunk)
                if self.shelf is not None:
                    self.shelf.check_open()
