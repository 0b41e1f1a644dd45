"""The files of one layer, for whoever looks at an image layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import InputError

if TYPE_CHECKING:
    from nixdock.face.describing import Describing
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location, Place
    from nixdock.read.contents import FileEntry
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.view.model import FileView

__all__ = ["layer_files"]


def layer_files(
    source: ImageSpec | Place,
    number: int,
    *,
    platform: str | None = None,
    replaced: Place | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> tuple[FileView, ...]:
    """Return the members of the tar of the layer with this number, counted from 1 at the bottom.

    The image is that of `view_image` with the same arguments or, with `replaced`, the new one of
    `view_update` from there. The layer is read and verified; that of a spec is packed, and nothing
    else. Raise InputError if there is no such layer, or if `source` is a reference graph or a plan,
    whose layers have no files, ImageError if the layer is damaged, and PackError if it can't be
    packed.
    """
    from nixdock.face.sources import read_source
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.view.model import FileView

    wanted = wanted_platform(platform)
    if not isinstance(source, ImageSpec):
        found = read_source(location_of(source))
        if isinstance(found, Closure):
            raise InputError("a plan has no files, only store paths")
        source = found
    if isinstance(source, ImageSpec):
        files = _of_spec(source, number, wanted, replaced, access, describing)
    else:
        files = _of_place(source, number, wanted, access)
    return tuple(FileView(*file) for file in files)


def _of_spec(
    spec: ImageSpec,
    number: int,
    platform: Platform | None,
    replaced: Place | None,
    access: Access | None,
    describing: Describing | None,
) -> tuple[FileEntry, ...]:
    from nixdock.face.described import Described
    from nixdock.face.describing import Describing
    from nixdock.oci.location import location_of
    from nixdock.oci.registry_reference import RegistryReference

    other = None if replaced is None else location_of(replaced)
    described = Described(
        spec,
        describing or Describing(),
        platform,
        access,
        replaced=other if isinstance(other, RegistryReference) else None,
    )
    return described.layer_files(number)


def _of_place(
    location: Location, number: int, platform: Platform | None, access: Access | None
) -> tuple[FileEntry, ...]:
    from nixdock.layers.hashed import drain
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import location_text
    from nixdock.read.contents import read_contents
    from nixdock.read.selection import select_image
    from nixdock.registry.opening import open_location

    with open_location(location, access, platform=platform or Platform()) as opened:
        image = select_image(opened, platform=platform)
        if not 0 < number <= len(image.layers):
            raise InputError(f"{location_text(location)} has no layer {number}")
        layer = image.layers[number - 1]
        with layer.open_tar() as tar:
            contents = read_contents(tar, layer.subject, with_files=True)
            # The last bytes tell whether the layer is damaged.
            drain(tar)
    return contents.files or ()
