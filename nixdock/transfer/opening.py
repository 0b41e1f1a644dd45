"""Open locations as sources and destinations: the one place here that knows every kind of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, Descriptor, Platform, canonical_json
from nixdock.oci.documents import IndexDocument
from nixdock.oci.layout import INDEX, Format
from nixdock.oci.location import FileLocation, Location
from nixdock.oci.media_types import INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE
from nixdock.oci.registry_reference import RegistryReference
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json
from nixdock.read.archive import open_members
from nixdock.read.members import read_whole
from nixdock.read.opening import ImageFile
from nixdock.read.problem import refuse
from nixdock.read.selection import select_only_image
from nixdock.registry.access import Access
from nixdock.registry.opening import open_location
from nixdock.registry.pull_places import access_to, find_image
from nixdock.registry.referrers import list_referrers
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport
from nixdock.system.presence import is_directory
from nixdock.system.scratch import is_stream
from nixdock.transfer.artifacts import artifact_in
from nixdock.transfer.attachments import attachments_below
from nixdock.transfer.destination import Destination, RegistryDestination
from nixdock.transfer.docker_source import packed_source
from nixdock.transfer.file_destination import FileForm, open_file_destination
from nixdock.transfer.layout_referrers import referrers_in_layout
from nixdock.transfer.names import name_of, renamed
from nixdock.transfer.platforms import choose
from nixdock.transfer.source import LayoutSource, RegistrySource, Source
from nixdock.transfer.tree import Tree, read_tree

__all__ = [
    "Opened",
    "Selection",
    "destination_names",
    "form_of",
    "full_names",
    "how_to_write",
    "open_destination",
    "open_source",
    "opened_layout",
    "repository_name",
]


class Selection(Struct, frozen=True):
    """Which images of a location are meant: that for a platform, or, with `every`, all.

    Without `platform`, `default` gives the platform that is meant, if there are several.
    """

    platform: Platform | None = None
    every: bool = False
    default: Callable[[], Platform] = Platform


class Opened(Struct, frozen=True):
    """What is copied: a source, the manifests and blobs in it, and their names there.

    `attachments` returns what is attached to the manifests with some digests, and to that; see
    `attachments_below`.
    """

    source: Source
    tree: Tree
    names: tuple[str, ...]
    attachments: Callable[[Iterable[str]], list[Attachment]]


def form_of(location: FileLocation) -> Format:
    """Return the format in which a file is written: a layout if there is a directory already."""
    return location.form or (Format.OCI_LAYOUT if is_directory(location.path) else Format.ARCHIVE)


def how_to_write(source: Location, destination: Location, mtime: int) -> FileForm:
    """Return how a copy is written: layouts keep what else they have."""
    match destination:
        case FileLocation():
            form = form_of(destination)
        case RegistryReference():
            form = Format.OCI_LAYOUT
    match source:
        case FileLocation():
            return FileForm(form, mtime, adding=True)
        case RegistryReference():
            return FileForm(form, mtime, resumable=True, adding=True)


@contextmanager
def open_source(
    location: Location, selection: Selection, access: Access | None = None, *, compress: bool = True
) -> Iterator[Opened]:
    """Open what `selection` means of a location; its blobs can be read until the block ends.

    A docker-archive has no manifest: one is made and, with `compress`, its layers are compressed.
    Raise InputError if there is no such image, or more than one; ImageError if it is damaged; and
    RegistryError if a registry does not answer as it should.
    """
    match location:
        case RegistryReference():
            yield _open_registry(location, selection, access)
        case FileLocation():
            with ExitStack() as stack:
                yield _open_file(location, selection, stack, compress=compress)


def _open_file(
    location: FileLocation, selection: Selection, stack: ExitStack, *, compress: bool
) -> Opened:
    """Open a file; it is closed with the stack."""
    try:
        file = stack.enter_context(open_location(location))
        if file.layout is not None:
            return opened_layout(file, selection)
        image = select_only_image(file, selection.platform, selection.default)
    except (InputError, ImageError):
        if (artifact := _open_artifact(location, stack)) is None:
            raise
        return artifact
    source, made = stack.enter_context(packed_source(image, file.path, compress=compress))
    return Opened(source, read_tree(source, made), image.names, lambda _: [])


def _open_artifact(location: FileLocation, stack: ExitStack) -> Opened | None:
    """Open an artifact in a layout, which is no image, or return None if there is none."""
    # A pipe was read already.
    if location.form is Format.DOCKER_ARCHIVE or is_stream(location.path):
        return None
    try:
        members = open_members(location.path, refuse)
        stack.callback(members.close)
        source = LayoutSource(members, str(location.path))
        found = artifact_in(members, source, location.name)
    except (InputError, ImageError):
        return None
    if found is None:
        return None
    listed = partial(referrers_in_layout, members, source)
    return Opened(source, *found, partial(attachments_below, source, listed))


@contextmanager
def open_destination(
    location: Location, access: Access | None = None, *, how: FileForm
) -> Iterator[Destination]:
    """Open a location as a destination; a file is written, as `how` says, when the block ends."""
    match location:
        case RegistryReference():
            yield RegistryDestination(_repository(location, access))
        case FileLocation():
            with open_file_destination(location.path, how) as destination:
                yield destination


def destination_names(location: Location, opened: Opened) -> tuple[str, ...]:
    """Return the names that an image gets at its destination.

    Raise InputError if the location has the digest of something else.
    """
    match location:
        case FileLocation():
            return (renamed(opened.names, location.name),) if location.name else opened.names
        case RegistryReference():
            digest = opened.tree.manifest.digest
            if location.digest not in {None, digest}:
                raise InputError(
                    f"the digest of {opened.source.place} is {digest}: it can't be copied to"
                    f" {location}",
                    digest=digest,
                    place=str(location),
                )
            return (location.tag,) if location.tag else ()


def full_names(location: Location, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that an image has at a location, in full: those in a registry are tags."""
    match location:
        case FileLocation():
            return tuple(names)
        case RegistryReference():
            return tuple(f"{location.name}:{name}" for name in names)


def repository_name(location: Location) -> str:
    """Return the host and the repository, or an empty text for a file."""
    match location:
        case FileLocation():
            return ""
        case RegistryReference():
            return location.name


def _repository(reference: RegistryReference, access: Access | None) -> Repository:
    access = access_to(reference, access)
    return Repository(Transport(reference.host, access), reference.repository)


def _open_registry(
    reference: RegistryReference, selection: Selection, access: Access | None
) -> Opened:
    repository, found = find_image(reference, access)
    source = RegistrySource(repository)
    manifest = Blob(found.media_type, found.data)
    if not selection.every:
        manifest = choose(source, manifest, selection.platform, selection.default)
    named = reference if reference.tag else reference.at(manifest.digest)

    def attachments(digests: Iterable[str]) -> list[Attachment]:
        # Mirrors need not have what refers to an image.
        own = _repository(reference, access)
        return attachments_below(RegistrySource(own), partial(list_referrers, own), digests)

    return Opened(source, read_tree(source, manifest), (name_of(named),), attachments)


def opened_layout(file: ImageFile, selection: Selection) -> Opened:
    """Return what `selection` means of a layout; raise what `open_source` raises."""
    source = LayoutSource(file.members, file.path)
    listed = partial(referrers_in_layout, file.members, source)
    attachments = partial(attachments_below, source, listed)
    if selection.every:
        manifest = _whole(file, source)
        names = tuple(dict.fromkeys(name for image in file.images for name in image.names))
        return Opened(source, read_tree(source, manifest), names, attachments)
    image = select_only_image(file, selection.platform, selection.default)
    data = image.manifest_data or b""
    media_type = parse_json(data).get("mediaType") or MANIFEST_MEDIA_TYPE
    tree = read_tree(source, Blob(media_type, data))
    return Opened(source, tree, image.names, attachments)


def _whole(file: ImageFile, source: LayoutSource) -> Blob:
    """Return the index of all images; one is made if the layout has them side by side."""
    if not file.images:
        raise InputError(f"{file.path} has no images", path=file.path)
    data = read_whole(file.members, INDEX, MOST_JSON)
    entries = converted(parse_json(data, INDEX), IndexDocument, INDEX).manifests
    # An image may be in several indexes, of which only one is meant.
    wanted = {image.entry for image in file.images}
    chosen = {entry.digest: entry for entry in entries if source.manifest(entry).digest in wanted}
    if len(chosen) == 1:
        return source.manifest(next(iter(chosen.values())))
    if len({image.names for image in file.images}) != 1:
        names = ", ".join(dict.fromkeys(name for image in file.images for name in image.names))
        raise InputError(
            f"{file.path} has several images, {names or 'without names'}; name one of them",
            path=file.path,
        )
    platforms = {image.digest: image.platform for image in file.images}
    descriptors = [
        Descriptor(entry.media_type, digest, entry.size, platform=platforms.get(digest)).document()
        for digest, entry in chosen.items()
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": descriptors}
    return Blob(INDEX_MEDIA_TYPE, canonical_json(document))
