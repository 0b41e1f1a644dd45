"""Indexes of images for several platforms, in files and in registries."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.build.build import prepared_build
from nixdock.errors import (
    ImageError,
    InputError,
    NixdockError,
    PackError,
    PlanError,
    ScriptError,
    StoreError,
)
from nixdock.face.known_layers import user_cache
from nixdock.face.pushing import push_spec
from nixdock.face.several import several
from nixdock.index.entries import IndexEntry, entries_of, entry_of
from nixdock.index.indexing import Indexing
from nixdock.index.joining import (
    JoinedSource,
    check_platforms,
    joined_entries,
    joined_tree,
    shared_annotations,
)
from nixdock.index.result import ImageIndex
from nixdock.layers.pack import pack_all
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.digests import hex_of
from nixdock.oci.layout import Format
from nixdock.oci.location import location_of, location_text
from nixdock.oci.platforms import platform_text
from nixdock.rootfs.confinement import Confinement
from nixdock.spec.image_spec import ImageSpec
from nixdock.system.directory_form import real_directory
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter
from nixdock.transfer.copying import transfer
from nixdock.transfer.file_destination import (
    FileDestination,
    FileForm,
    open_file_destination,
)
from nixdock.transfer.opening import (
    Opened,
    Selection,
    full_names,
    open_destination,
    open_source,
)
from nixdock.transfer.push import Pushing
from nixdock.transfer.pushed_copies import bytes_sent
from nixdock.transfer.targets import target_reference

if TYPE_CHECKING:
    from nixdock.oci.attachment import Attachment
    from nixdock.oci.image import Image
    from nixdock.oci.location import Place
    from nixdock.registry.access import Access
    from nixdock.transfer.tree import Tree

__all__ = ["build_index", "push_index"]


# Besides those at a key of the spec.
_OF_SPECS: Final = (ImageError, PackError, PlanError, ScriptError, StoreError)


class _Found(Struct, frozen=True):
    """The entries of an image or index, its names, and what is attached to the entries."""

    entries: Sequence[IndexEntry]
    names: tuple[str, ...]
    attachments: Sequence[Attachment] = ()


def build_index(
    images: Iterable[ImageSpec | Place],
    target: str | os.PathLike[str],
    options: Indexing | None = None,
    *,
    form: Format | str = "archive",
    access: Access | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
) -> ImageIndex:
    """Put images for several platforms into one index, as the file or directory `target`.

    An image is a spec, from which it is built, or at a location; of an index there, all images are
    taken over. Manifests keep their bytes. The index lists images sorted by platform, and then what
    belongs to them, such as attestations. `form` is archive, oci-archive or oci-layout.

    Raise InputError if two images are for the same platform, if one does not say for which it is,
    or if the format can't hold an index; what `build_image` raises for a spec, and what
    `copy_image` raises for a location.
    """
    chosen, path = Format(form), Path(target)
    if chosen is Format.DOCKER_ARCHIVE:
        raise InputError(
            "a docker-archive holds no index, only single images; write an archive, an OCI archive"
            " or an OCI layout"
        )
    if chosen is Format.OCI_LAYOUT:
        path = real_directory(path)
    how, watching = options or Indexing(), progress or NO_PROGRESS
    read = 0
    with ExitStack() as stack:
        specs, found = _opened(several(images, "images"), access, stack, referrers=how.referrers)
        directory = stack.enter_context(temporary_directory(path))
        file = FileForm(chosen, mtime=how.mtime)
        place = stack.enter_context(open_file_destination(path, file))
        for origin, spec in specs.items():
            with (
                _named_among(specs, origin),
                prepared_build(spec, Confinement(confinement), access) as build,
            ):
                watching.start([layer.weight for layer in build.layers])
                blobs = pack_all(build.layers, directory, how.compression, progress=watching)
                image = build.assemble(blobs)
            _adopt(image, directory, place)
            read += sum(blob.tar_size or 0 for blob in blobs)
            if how.use_cache:
                user_cache().add(blobs)
            entry = entry_of(origin, image.manifest, image.platform)
            found.append(_Found([entry], tuple(map(str, spec.references))))
        index, tree = _joined(found, how)
        names = how.names or _common_names(found)
        copied, _ = transfer(
            JoinedSource(_all_entries(found)), tree, place, names, watching, index.attachments
        )
    read += sum(blob.read for blob in copied)
    return replace(index, names=names, read=read)


def _adopt(image: Image, directory: Path, place: FileDestination) -> None:
    """Let a file have an image whose layers are in a directory, named by their digests."""
    config = directory / hex_of(image.config.digest)
    with FileWriter(config) as writer:
        writer.write(image.config.data)
    place.adopt(image.config.digest, config)
    for layer in image.layers:
        place.adopt(layer.digest, directory / hex_of(layer.digest))


def push_index(
    images: Iterable[ImageSpec | Place],
    destinations: Iterable[str],
    options: Indexing | None = None,
    pushing: Pushing | None = None,
    *,
    reuse: Iterable[str] = (),
    access: Access | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
) -> ImageIndex:
    """Push images for several platforms, and an index of them, to each of `destinations`.

    `images` are as for `build_index`. The image of a spec is pushed as by `push_image`, with the
    options `pushing`, in place of the one for its platform that the destinations have now. Images
    are pushed by digest, then the index, and the tags are set last. Raise what `build_index` and
    `push_image` raise.
    """
    references = [target_reference(text) for text in several(destinations, "destinations")]
    if not references:
        raise InputError("there is no destination; name at least one, as HOST/REPOSITORY:TAG")
    reused = several(reuse, "reuse")
    # The tags are those of the index.
    chosen = replace(pushing or Pushing(), tags=False)
    if chosen.dry_run:
        raise InputError("there is no dry run of an index; push its images with a dry run")
    read = sent = 0
    with ExitStack() as stack:
        how = options or Indexing()
        specs, found = _opened(several(images, "images"), access, stack, referrers=how.referrers)
        for origin, spec in specs.items():
            with _named_among(specs, origin):
                pushed = push_spec(
                    spec, references, chosen, reused, access, progress, Confinement(confinement)
                )
            assert pushed.manifest is not None  # It was built.
            found.append(_Found([entry_of(origin, pushed.manifest, spec.platform)], ()))
            read, sent = read + pushed.read, sent + pushed.sent
        index, tree = _joined(found, how)
        source = JoinedSource(_all_entries(found))
        for reference in references:
            form = FileForm(Format.OCI_LAYOUT)
            with open_destination(reference, access, how=form) as place:
                tags = [reference.tag] if reference.tag else []
                blobs, manifests = transfer(
                    source, tree, place, tags, progress or NO_PROGRESS, index.attachments
                )
            read += sum(blob.read for blob in blobs)
            sent += bytes_sent(blobs, manifests)
    pinned = dict.fromkeys(f"{reference.name}@{index.digest}" for reference in references)
    tagged = (name for each in references for name in full_names(each, filter(None, [each.tag])))
    return replace(index, names=tuple(tagged), references=tuple(pinned), read=read, sent=sent)


def _opened(
    images: Iterable[ImageSpec | Place],
    access: Access | None,
    stack: ExitStack,
    *,
    referrers: bool,
) -> tuple[dict[str, ImageSpec], list[_Found]]:
    """Return the specs, by what they are called, and what exists.

    Raise InputError early if two images are for the same platform.
    """
    sources = list(images)
    if not sources:
        raise InputError("there is nothing to put into an index; name at least one image")
    specs: dict[str, ImageSpec] = {}
    found = []
    for number, each in enumerate(sources, 1):
        if isinstance(each, ImageSpec):
            origin = f"the spec of {each.references[0]} for {platform_text(each.platform)}"
            specs[f"{origin} (image {number})" if origin in specs else origin] = each
        else:
            location = location_of(each)
            opened = stack.enter_context(open_source(location, Selection(every=True), access))
            found.append(_found(location_text(location), opened, referrers=referrers))
    check_platforms(
        [
            *((each.origin, each.platform) for each in _all_entries(found) if each.platform),
            *((origin, spec.platform) for origin, spec in specs.items()),
        ]
    )
    return specs, found


@contextmanager
def _named_among(specs: Collection[str], origin: str) -> Iterator[None]:
    """Let errors name the spec if there are several, and if it is what is wrong."""
    try:
        yield
    except NixdockError as error:
        # Where images go to, and with which account, is wrong for all specs.
        if len(specs) > 1 and (error.key is not None or isinstance(error, _OF_SPECS)):
            error.args = (f"{origin}: {error}",)
        raise


def _found(origin: str, opened: Opened, *, referrers: bool) -> _Found:
    entries = entries_of(origin, opened.source, opened.tree)
    attached: Sequence[Attachment] = ()
    if referrers:
        # Not what is attached to an index, which is another one here.
        digests = [entry.digest for entry in entries]
        attached = opened.attachments(digests)
    return _Found(entries, opened.names, attached)


def _all_entries(found: Iterable[_Found]) -> list[IndexEntry]:
    return joined_entries(entry for each in found for entry in each.entries)


def _joined(found: Sequence[_Found], options: Indexing) -> tuple[ImageIndex, Tree]:
    entries = _all_entries(found)
    shared = shared_annotations(entries) if options.default_annotations else {}
    annotations = {**shared, **options.annotations}
    tree = joined_tree(entries, annotations)
    attached = {one.manifest.digest: one for each in found for one in each.attachments}
    index = ImageIndex.of(tree.manifest, entries, annotations)
    return replace(index, attachments=tuple(attached.values())), tree


def _common_names(found: Sequence[_Found]) -> tuple[str, ...]:
    first, *others = (each.names for each in found)
    return tuple(name for name in first if all(name in each for each in others))
