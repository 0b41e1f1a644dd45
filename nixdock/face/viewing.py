"""Views of images, specs, plans and updates: what all that is shown to people is made from."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from nixdock.errors import ClosureError
from nixdock.nix.stated_references import StatedReferences

if TYPE_CHECKING:
    from nixdock.diff.result import Diff
    from nixdock.diff.side import Side
    from nixdock.face.described import Described
    from nixdock.face.describing import Describing
    from nixdock.layering.plan import LayerPlan
    from nixdock.layers.progress import Progress
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location, Place
    from nixdock.read.report import FileReport
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.view.model import ImageView
    from nixdock.view.update import UpdateView

__all__ = ["view_diff", "view_image", "view_images", "view_plan", "view_update"]

_GRAPH: Final = "the reference graph"

log = logging.getLogger(__name__)


def view_image(
    source: ImageSpec | Closure | Place,
    *,
    quick: bool = False,
    with_files: bool = False,
    graph: Closure | None = None,
    platform: str | None = None,
    progress: Progress | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> ImageView:
    """Return the view of the image at a place, of a spec, or of a closure as it would be layered.

    At the place is an image in any format, a spec, or a reference graph. The arguments and errors
    are those of `inspect_image`; of several images, that for `platform` is viewed, by default
    linux/amd64. `with_files` lists the files of the layers; those of a spec are packed for that.
    `graph` states the references of the store paths; without it, the spec does, or the Nix database
    in the image, or the files in its layers.
    """
    from nixdock.face.plans import plan_layers
    from nixdock.face.sources import read_source
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import location_of, location_text
    from nixdock.spec.image_spec import ImageSpec

    origin = ""
    if not isinstance(source, Closure | ImageSpec):
        location = location_of(source)
        origin = location_text(location)
        source = read_source(location)
    if isinstance(source, Closure):
        return view_plan(source, plan_layers(source), origin=origin or "the closure")
    _, (view, *_) = view_images(
        source,
        quick=quick,
        with_files=with_files,
        graph=graph,
        platform=platform,
        only_one=True,
        progress=progress,
        access=access,
        describing=describing,
    )
    return replace(view, origin=origin or view.origin)


def view_images(  # noqa: PLR0913 (a keyword for each choice)
    source: ImageSpec | Place,
    *,
    quick: bool = False,
    with_files: bool = False,
    graph: Closure | None = None,
    platform: str | None = None,
    only_one: bool = False,
    progress: Progress | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> tuple[FileReport, tuple[ImageView, ...]]:
    """Return the report of `inspect_image`, and the view of each image in it.

    With `only_one`, one of several images is selected, as by `view_image`.
    """
    from nixdock.layers.progress import NO_PROGRESS
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.spec.image_spec import ImageSpec

    wanted = wanted_platform(platform)
    progress = progress or NO_PROGRESS
    if isinstance(source, ImageSpec):
        from nixdock.face.described import Described
        from nixdock.face.describing import Describing

        described = Described(source, describing or Describing(), wanted, access)
        return _of_spec(described, graph, progress, quick=quick, with_files=with_files)
    return _of_place(
        location_of(source),
        graph,
        wanted,
        progress,
        access,
        quick=quick,
        with_files=with_files,
        only_one=only_one,
    )


def view_plan(
    closure: Closure,
    plan: LayerPlan,
    *,
    volatile: Iterable[StorePath] = (),
    origin: str = "the closure",
) -> ImageView:
    """Return the view of a plan of `closure`; the app is `volatile`, or the top of the graph."""
    from nixdock.view.of_image import view_of_plan
    from nixdock.view.references import with_references

    view = view_of_plan(plan, {info.path: info.nar_size for info in closure}, origin)
    stated = StatedReferences.of(closure, _GRAPH)
    return with_references(view, stated, frozenset(volatile), closure)


def view_update(
    old: Place,
    new: Place,
    *,
    graph: Closure | None = None,
    platform: str | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> UpdateView:
    """Return the view of an update from `old` to `new`, which are as for `diff_images`.

    `graph` states the references of the store paths, in place of the two sides.
    """
    from nixdock.face.comparing import diff_images

    diff = diff_images(old, new, platform=platform, access=access, describing=describing)
    return view_diff(diff, graph=graph)


def view_diff(diff: Diff, *, graph: Closure | None = None) -> UpdateView:
    """Return the view of the update that `diff_images` compared."""
    from nixdock.view.of_diff import view_of_diff

    return view_of_diff(diff, _of_side(diff.old, graph), _of_side(diff.new, graph))


def _of_side(side: Side, graph: Closure | None) -> ImageView:
    from nixdock.view.of_image import view_of_side

    stated = side.stated if graph is None else StatedReferences.of(graph, _GRAPH)
    return _stated(view_of_side(side), stated)


def _stated(view: ImageView, stated: StatedReferences | None) -> ImageView:
    from nixdock.view.references import with_references

    if stated is None:
        return view
    try:
        return with_references(view, stated)
    except ClosureError as error:
        # Whoever made an image may have put any database into it.
        log.warning("%s: the references of the store paths are not known: %s", view.origin, error)
        return view


def _of_spec(
    described: Described,
    graph: Closure | None,
    progress: Progress,
    *,
    quick: bool,
    with_files: bool,
) -> tuple[FileReport, tuple[ImageView, ...]]:
    from nixdock.view.model import ViewKind
    from nixdock.view.of_image import view_of_report

    if with_files:
        report = described.report_with_files(progress)
    else:
        report = described.quick_report() if quick else described.report(progress)
    stated = described.stated() if graph is None else StatedReferences.of(graph, _GRAPH)
    (image,) = report.images
    view = view_of_report(image, str(described.spec.references[0]), ViewKind.SPEC)
    return report, (_stated(view, stated),)


def _of_place(
    location: Location,
    graph: Closure | None,
    platform: Platform | None,
    progress: Progress,
    access: Access | None,
    *,
    quick: bool,
    with_files: bool,
    only_one: bool,
) -> tuple[FileReport, tuple[ImageView, ...]]:
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import location_text
    from nixdock.read.references import image_references
    from nixdock.read.report import inspect_images, list_images
    from nixdock.read.selection import images_for, select_image
    from nixdock.registry.opening import open_location
    from nixdock.view.model import ViewKind
    from nixdock.view.of_image import view_of_report

    asked = platform or Platform() if only_one else platform
    with open_location(location, access, platform=asked) as opened:
        if only_one:
            file = replace(opened, images=(select_image(opened, platform=platform),))
        else:
            file = images_for(opened, platform)
        if quick:
            report = list_images(file)
        else:
            report = inspect_images(file, progress=progress, with_files=with_files)
        views = []
        for image, found in zip(file.images, report.images, strict=True):
            stated = (
                image_references(image, found)
                if graph is None
                else StatedReferences.of(graph, _GRAPH)
            )
            view = view_of_report(found, location_text(location), ViewKind.IMAGE)
            views.append(_stated(view, stated))
    return report, tuple(views)
