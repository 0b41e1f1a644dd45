"""Views of images and of plans, without what only the reference graph tells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.nix.store_path import StorePath
from nixdock.oci.descriptor import Platform
from nixdock.oci.media_types import LAYER_CODINGS
from nixdock.oci.platforms import platform_text
from nixdock.view.command import links_of, named_by_command
from nixdock.view.model import FileView, ImageView, LayerKind, LayerView, PathView, ViewKind

if TYPE_CHECKING:
    from nixdock.diff.side import Side, SideLayer
    from nixdock.layering.plan import LayerPlan
    from nixdock.read.report import ImageReport, LayerReport

__all__ = ["view_of_plan", "view_of_report", "view_of_side"]

_OWN: Final = "nixdock: "
_KINDS: Final = {
    "nixdock: the image's own files": LayerKind.OWN_FILES,
    "nixdock: Nix database": LayerKind.DATABASE,
}
_UNTITLED: Final = "files"


def view_of_report(report: ImageReport, origin: str, kind: ViewKind) -> ImageView:
    """Return the view of an image that was read, or that a spec describes, from its report."""
    layers = tuple(_layer(number, layer) for number, layer in enumerate(report.layers, 1))
    documents = (report.config_size or 0) + (report.manifest_size or 0)
    view = ImageView(
        origin=origin,
        kind=kind,
        layers=layers,
        size=_stored_size(layers, documents),
        names=report.tags,
        platform=platform_text(Platform(report.architecture, report.os, report.variant)),
        created=report.created,
        digest=report.digest,
        config_digest=report.config_digest,
        document_size=documents,
        command=_command(report.config),
        user=_text(report.config.get("User")),
    )
    return with_app(view, named_by_command(view, links_of(report)))


def view_of_plan(plan: LayerPlan, sizes: Mapping[str, int], origin: str) -> ImageView:
    """Return the view of a plan; `sizes` are the NAR sizes of its store paths."""
    layers = tuple(
        _planned_layer(number, layer.paths, layer.nar_size, sizes)
        for number, layer in enumerate(plan.layers, 1)
    )
    size = sum(layer.nar_size for layer in plan.layers)
    return ImageView(origin, ViewKind.GRAPH, layers, size)


def view_of_side(side: Side) -> ImageView:
    """Return the view of one side of a comparison."""
    if side.report is None:
        layers = tuple(
            _unread_layer(layer, planned=not side.kind.has_blobs) for layer in side.layers
        )
        digest = None if side.manifest is None else side.manifest.digest
        return ImageView(side.origin, side.kind, layers, side.stored_size, digest=digest)
    view = view_of_report(side.report, side.origin, side.kind)
    layers = tuple(
        _with_paths(layer, known.paths, {path.path: path.size for path in layer.paths if path.size})
        for layer, known in zip(view.layers, side.layers, strict=True)
    )
    view = replace(view, layers=layers)
    return with_app(view, named_by_command(view, links_of(side.report)))


def with_app(view: ImageView, app: Iterable[str], users: Collection[str] = ()) -> ImageView:
    """Return `view` with the store paths `app` marked as what the image is for.

    `users` are those that refer to it, directly or not.
    """
    marked = tuple(dict.fromkeys(app))
    changing = {*marked, *users}
    layers = tuple(
        replace(
            layer,
            paths=tuple(replace(path, is_app=path.path in marked) for path in layer.paths),
            has_app=any(path.path in changing for path in layer.paths),
        )
        for layer in view.layers
    )
    return titled(replace(view, layers=layers, app=marked))


def titled(view: ImageView) -> ImageView:
    """Return `view` with a title for each layer of store paths: the app, or the largest one."""
    layers = tuple(
        replace(layer, title=_title(layer.paths)) if layer.paths else layer for layer in view.layers
    )
    return replace(view, layers=layers)


def _title(paths: Sequence[PathView]) -> str:
    # The first one of equal sizes: layers have an order.
    best = max(paths, key=lambda path: (path.is_app, path.size or 0))
    return best.name


def _layer(number: int, layer: LayerReport) -> LayerView:
    kind = _KINDS.get(layer.created_by, LayerKind.OTHER)
    if layer.store_paths or (kind is LayerKind.OTHER and layer.created_by.startswith(_OWN)):
        kind = LayerKind.STORE
    coding = LAYER_CODINGS.get(layer.media_type)
    said = layer.comment or layer.created_by.removeprefix(_OWN) or _UNTITLED
    return _with_paths(
        LayerView(
            number=number,
            kind=kind,
            title=said,
            size=layer.size,
            digest=layer.digest or None,
            diff_id=layer.diff_id or None,
            media_type=layer.media_type,
            compression=None if coding is None else str(coding),
            created_by=layer.created_by,
            comment=layer.comment,
            tar_size=layer.tar_size,
            files=None if layer.files is None else tuple(FileView(*file) for file in layer.files),
        ),
        _valid(layer.store_paths),
        layer.nar_sizes,
    )


def _planned_layer(
    number: int, paths: Sequence[StorePath], nar_size: int, sizes: Mapping[str, int]
) -> LayerView:
    layer = LayerView(number, LayerKind.STORE, paths[0].name, size=nar_size, nar_size=nar_size)
    return _with_paths(layer, paths, sizes)


def _unread_layer(layer: SideLayer, *, planned: bool) -> LayerView:
    """Return a layer of which only the side of a comparison tells."""
    view = LayerView(
        number=layer.number,
        kind=LayerKind.STORE if layer.paths else LayerKind.OTHER,
        title=layer.paths[0].name if layer.paths else layer.comment or _UNTITLED,
        size=layer.size,
        nar_size=layer.size if planned else None,
        digest=layer.digest,
        diff_id=layer.diff_id,
        comment=layer.comment,
    )
    return _with_paths(view, layer.paths, {})


def _with_paths(
    layer: LayerView, paths: Iterable[StorePath], sizes: Mapping[str, int]
) -> LayerView:
    views = tuple(PathView(path, layer.number, sizes.get(path)) for path in paths)
    known = [view.size for view in views if view.size is not None]
    nar_size = sum(known) if views and len(known) == len(views) else layer.nar_size
    return replace(layer, paths=views, nar_size=nar_size)


def _valid(texts: Iterable[str]) -> list[StorePath]:
    paths = []
    for text in texts:
        try:
            paths.append(StorePath.parse(text))
        except InputError:
            continue
    return paths


def _stored_size(layers: Iterable[LayerView], documents: int) -> int | None:
    """Return what a registry stores, each blob once, or None if a size is not known."""
    sizes = {layer.digest or layer.number: layer.size for layer in layers}
    known = [size for size in sizes.values() if size is not None]
    return sum(known) + documents if len(known) == len(sizes) else None


def _command(config: Mapping[str, Any]) -> tuple[str, ...]:
    words = []
    for key in ("Entrypoint", "Cmd"):
        value = config.get(key)
        words += (
            [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
        )
    return tuple(words)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
