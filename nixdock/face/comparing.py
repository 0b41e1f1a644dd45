"""Comparing images, specs, plans and graphs: what an update transfers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.face.several import several

if TYPE_CHECKING:
    from pathlib import Path

    from nixdock.diff.result import Diff
    from nixdock.diff.side import Side
    from nixdock.face.describing import Describing
    from nixdock.layering.strategies import Layering
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location, Place
    from nixdock.registry.access import Access

__all__ = ["diff_images"]


def diff_images(
    old: Place,
    new: Place,
    *,
    layering: Layering | None = None,
    new_layering: Layering | None = None,
    max_layers: int = 100,
    platform: str | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> Diff:
    """Return how many bytes an update from `old` to `new` transfers, and why.

    Each of the two is an image in any format, a spec, a plan file, or a reference graph. A spec
    stands for the archive that `build_image` would write or, as `new`, for the image that
    `push_image` would send in place of `old`, if that is in a registry; layers that are known from
    the other side, or as `describing` says, are not packed. A graph is planned first, by `layering`
    within `max_layers`; for `new`, `new_layering` is used if it is given. The `previous` of
    `describing` are those of `new`, which must be a spec or a graph then. `platform`, as
    OS/ARCHITECTURE[/VARIANT], is that of the images; by default, where there are images for
    several, it is that of a spec on the other side, or else linux/amd64. Layers in a registry are
    not read if the image remembers their store paths; the hashes of those that are on one side only
    are then abbreviated, followed by zeros. Raise InputError if a path is none of these or has no
    image for the platform, ImageError if an image is damaged, RegistryError if a registry does not
    send it, and PlanError if no plan fits.
    """
    from nixdock.build.previous import read_previous
    from nixdock.diff.comparison import compare_sides
    from nixdock.diff.reading import Planning, is_image, read_side
    from nixdock.diff.remembered import with_whole_hashes
    from nixdock.diff.side import SideKind
    from nixdock.face.describing import Describing
    from nixdock.layering.strategies import Layering
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.spec.reading import is_spec, spec_of

    wanted = wanted_platform(platform)
    layering = layering or Layering()
    old_planning = Planning(layering, max_layers)
    how = describing or Describing()
    continued = [location_of(text) for text in several(how.previous, "previous")]
    new_planning = Planning(
        new_layering or layering,
        max_layers,
        lambda: [read_previous(location, wanted, access) for location in continued],
    )
    old_place, new_place = location_of(old), location_of(new)

    def side(other: Location, document: Mapping[str, Any], file: Path) -> Side | None:
        if not is_spec(document):
            return None
        from nixdock.face.described import Described

        others = (other,) if is_image(other) else ()
        is_new = other is old_place
        replaced = other if is_new and isinstance(other, RegistryReference) else None
        own = how if is_new else replace(how, previous=())
        spec = spec_of(document, file)
        described = Described(spec, own, wanted, access, others, replaced)
        return described.side(str(file))

    def read(
        place: Location, planning: Planning, other: Location, preferred: Platform | None = None
    ) -> Side:
        return read_side(place, planning, wanted, access, partial(side, other), preferred)

    if is_image(old_place) and not is_image(new_place):
        # A spec says for which platform it is.
        new_side = read(new_place, new_planning, old_place)
        old_side = read(old_place, old_planning, new_place, new_side.platform)
    else:
        old_side = read(old_place, old_planning, new_place)
        new_side = read(new_place, new_planning, old_place, old_side.platform)
    if continued and new_side.kind not in {SideKind.SPEC, SideKind.GRAPH}:
        kind = new_side.kind.value
        raise InputError(f"previous images are for a spec or graph, not for this {kind}: {new}")
    return compare_sides(
        with_whole_hashes(old_side, new_side), with_whole_hashes(new_side, old_side)
    )
