"""Reading a side of a comparison from an image, a spec, a plan file or a reference graph."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from nixdock.diff.side import Document, Side, SideKind, SideLayer
from nixdock.errors import InputError, LayeringError
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.stated_references import StatedReferences
from nixdock.nix.store_path import valid_store_paths
from nixdock.oci.descriptor import Platform
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import FileLocation, Location, location_text, registry_hint
from nixdock.oci.platforms import best_fitting
from nixdock.oci.registry_reference import RegistryReference
from nixdock.system.input_files import read_bytes
from nixdock.system.presence import exists, is_directory, is_file

if TYPE_CHECKING:
    from nixdock.layering import Layering, LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath
    from nixdock.read.opening import ImageFile
    from nixdock.read.report import ImageReport
    from nixdock.read.stored import StoredImage
    from nixdock.read.stored_layer import StoredLayer
    from nixdock.registry.access import Access

__all__ = ["DescribeSpec", "Planning", "image_side", "is_image", "read_side"]

DescribeSpec = Callable[[Mapping[str, Any], Path], Side | None]
"""Returns the side that a JSON object from a file describes, or None if it is not a spec."""

# The start of JSON, or of registration text, which starts with a store path. The tar of an image
# starts with neither.
_TEXT: Final = re.compile(rb"\s*[\[{/]")
_START: Final = 512


class Planning(Struct, frozen=True):
    """How a reference graph is planned; `max_layers` includes the top layer.

    `previous` reads plans to continue, the newest first, in place of those of `layering`.
    """

    layering: Layering
    max_layers: int = 100
    previous: Callable[[], Sequence[PreviousPlan]] = tuple

    def plan(self, closure: Closure) -> LayerPlan:
        """Plan the layers of `closure`; raise PlanError if no plan fits."""
        layering = self.layering
        if plans := self.previous():
            layering = replace(layering, options=layering.options.continuing(plans))
        budget = layering.budget(self.max_layers, most_layers=MOST_LAYERS)
        return layering.plan(closure, budget)


def read_side(
    location: Location,
    planning: Planning | None = None,
    platform: Platform | None = None,
    access: Access | None = None,
    describe: DescribeSpec = lambda _document, _path: None,
    preferred: Platform | None = None,
) -> Side:
    """Read an image at any location, a plan file, or a graph, which is planned by `planning`.

    Of several images, the first one is read, or the first one for `platform`; without one, that
    for `preferred`, if there is one. `-` is standard input, for anything but an image. `describe`
    is asked whether JSON is a spec. Raise what `open_location` and `describe` raise, and InputError
    or one of its subclasses if a file can't be read or is none of these.
    """
    if not isinstance(location, FileLocation) or is_image(location):
        return _image(location, platform, access, preferred or Platform())
    path = location.path
    data = read_bytes(path, "the plan or graph")
    origin = str(path)
    document = _json_object(data)
    if (side := describe(document, path)) is not None:
        return side
    if _is_plan(document):
        return Side(origin, SideKind.PLAN, tuple(_plan_layers(document, data, origin)))
    if not _TEXT.match(data):
        name = "standard input" if origin == "-" else origin
        raise InputError(
            f"{name} is neither a plan nor a graph; an image must be given as a file",
            path=path,
        )
    closure = parse_closure(data, (), origin)
    plan = (planning or _default_planning()).plan(closure)
    layers = (
        SideLayer(number, layer.paths, layer.nar_size)
        for number, layer in enumerate(plan.layers, 1)
    )
    stated = StatedReferences.of(closure, "the reference graph")
    return Side(origin, SideKind.GRAPH, tuple(layers), stated=stated)


def _default_planning() -> Planning:
    from nixdock.layering import Layering  # noqa: PLC0415 (only for graphs)

    return Planning(Layering())


def is_image(location: Location) -> bool:
    """Tell whether there is an image at a location, if anything; raise InputError if not."""
    if not isinstance(location, FileLocation) or location.form is not None:
        return True
    return is_directory(location.path) or not _is_text(location.path)


def _is_text(path: Path) -> bool:
    """Return whether `path` is a plan or graph, not an image.

    Standard input and FIFOs, which can be read only once, can't be images, so they are not read.
    """
    if str(path) == "-" or (exists(path) and not is_file(path)):
        return True
    try:
        with path.open("rb") as stream:
            return _TEXT.match(stream.read(_START)) is not None
    except OSError as error:
        hint = registry_hint(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"can't read {path}: {error.strerror}{hint}", path=path) from None


def _json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, empty if there is none."""
    if not data.lstrip().startswith(b"{"):
        return {}
    try:
        return dict(orjson.loads(data))
    except orjson.JSONDecodeError:
        return {}


def _is_plan(document: Mapping[str, Any]) -> bool:
    return "layers" in document and "exportReferencesGraph" not in document


def _plan_layers(document: Mapping[str, Any], data: bytes, origin: str) -> Iterator[SideLayer]:
    from nixdock.layering.plan_file import parse_plan  # noqa: PLC0415 (only for plans)

    plan = parse_plan(data, origin)
    for i, paths in enumerate(plan.layers):
        # `parse_plan` does not check the size, which a plan of layers does not need.
        size = document["layers"][i].get("nar_size")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            key = f"layers[{i}].nar_size"
            raise LayeringError(
                f"{origin}: {key}: must be a number of bytes, not {size!r}; make the plan with"
                " `nixdock plan -o`",
                path=origin,
                key=key,
            )
        yield SideLayer(i + 1, paths, size)


def _image(
    location: Location, platform: Platform | None, access: Access | None, preferred: Platform
) -> Side:
    from nixdock.diff.remembered import remembered_paths  # noqa: PLC0415 (only for images)
    from nixdock.read.references import image_references  # noqa: PLC0415
    from nixdock.read.selection import select_image  # noqa: PLC0415
    from nixdock.registry.opening import open_location  # noqa: PLC0415

    with open_location(location, access, platform=platform or preferred) as file:
        found = [(image.platform, image) for image in file.images]
        if platform is None and best_fitting(found, preferred):
            platform = preferred
        image = select_image(file, platform=platform)
        # Files are read: that costs no transfer, and tells the whole hashes of the store paths.
        is_remote = isinstance(location, RegistryReference)
        report = _report(file, image, remembered_paths(image) if is_remote else {})
        stated = image_references(image, report)
    layers = (
        _side_layer(number, layer, tuple(valid_store_paths(found.store_paths)))
        for number, (layer, found) in enumerate(zip(image.layers, report.layers, strict=True), 1)
    )
    side = image_side(image, location)
    return dataclasses.replace(side, layers=tuple(layers), report=report, stated=stated)


def image_side(image: StoredImage, location: Location) -> Side:
    """Return an image as a side whose store paths are not known; no layer is read."""
    layers = (_side_layer(number, layer) for number, layer in enumerate(image.layers, 1))
    return Side(
        location_text(location), SideKind.IMAGE, tuple(layers), _config(image), _manifest(image)
    )


def _report(
    file: ImageFile, image: StoredImage, known: Mapping[int, tuple[StorePath, ...]]
) -> ImageReport:
    """Return the report on an image; those layers are not read whose store paths are `known`."""
    from nixdock.read.report import inspect_images, list_images  # noqa: PLC0415 (only for images)

    if not known:
        (report,) = inspect_images(replace(file, images=(image,))).images
        return report
    unknown = tuple(layer for i, layer in enumerate(image.layers) if i not in known)
    read = replace(file, images=(dataclasses.replace(image, layers=unknown),))
    reports = iter(inspect_images(read).images[0].layers)
    (report,) = list_images(replace(file, images=(image,))).images
    layers = (
        replace(layer, store_paths=known[i]) if i in known else next(reports)
        for i, layer in enumerate(report.layers)
    )
    return replace(report, layers=tuple(layers))


def _side_layer(number: int, layer: StoredLayer, paths: tuple[StorePath, ...] = ()) -> SideLayer:
    return SideLayer(
        number=number,
        paths=paths,
        size=layer.size,
        digest=layer.digest,
        diff_id=layer.diff_id,
        comment=layer.history.comment or layer.history.created_by,
    )


def _config(image: StoredImage) -> Document:
    return Document(image.config_digest, len(image.config_data))


def _manifest(image: StoredImage) -> Document | None:
    if image.digest is None or image.manifest_data is None:
        return None
    return Document(image.digest, len(image.manifest_data))
