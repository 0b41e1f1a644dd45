"""What the reference graph tells of an image: sizes of closures, and what changes with what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from nixdock.layering.comparison import app_of
from nixdock.layering.reach import Reach
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath
from nixdock.view.of_image import with_app

if TYPE_CHECKING:
    from nixdock.nix.stated_references import StatedReferences
    from nixdock.view.model import ImageView, LayerView, PathView

__all__ = ["added_sizes", "with_references"]


def with_references(
    view: ImageView,
    stated: StatedReferences,
    volatile: Collection[StorePath] = (),
    closure: Closure | None = None,
) -> ImageView:
    """Return `view` with what `stated` tells of its store paths.

    The app is that of the view, or else `volatile`, or else the top of the graph. References out of
    the image are left out. `closure`, if it is known, is used if it has just the same paths. Raise
    ClosureError if the references form a cycle.
    """
    paths = {StorePath(path.path): path.size for path in view.paths()}
    known = {path for path in paths if path in stated.known}
    if closure is None or closure.infos.keys() != paths.keys():
        closure = Closure.of(_info(path, size, paths, stated) for path, size in paths.items())
    reach = Reach(closure)
    sized = all(_size(path, size, stated) is not None for path, size in paths.items())
    graph = _Graph(stated, known, reach, *_sums(reach, known, sized=sized))
    groups = ([reach.index[StorePath(path.path)] for path in layer.paths] for layer in view.layers)
    unknown = reach.bits(path for path in paths if path not in known)
    layers = tuple(
        graph.layer(layer, None if cone & unknown else cone.bit_count())
        for layer, cone in zip(view.layers, reach.cones(groups), strict=True)
    )
    view = replace(view, layers=layers, references_from=stated.origin if known else None)
    app: Sequence[str] = view.app
    if known and not app:
        app = app_of(reach, volatile)
    users = {*reach.paths(reach.users(path for path in paths if path in app))}
    return with_app(view, app, users)


def added_sizes(closure: Closure) -> dict[StorePath, int]:
    """Return how many bytes of NARs the closure has only because of each path.

    These are the path and all that nothing reaches from a root but through it: what it dominates.
    """
    # The path right above each path on all ways from the roots; None is above the roots.
    above: dict[StorePath | None, StorePath | None] = {}
    depth: dict[StorePath | None, int] = {None: 0}
    for path in closure.order:
        ways: list[StorePath | None] = [*closure.referrers[path]]
        common = ways[0] if ways else None
        for way in ways[1:]:
            common = _common(common, way, above, depth)
        above[path] = common
        depth[path] = depth[common] + 1
    sizes = {path: closure[path].nar_size for path in closure.order}
    for path in reversed(closure.order):
        owner = above[path]
        if owner is not None:
            sizes[owner] += sizes[path]
    return sizes


def _common(
    one: StorePath | None,
    other: StorePath | None,
    above: Mapping[StorePath | None, StorePath | None],
    depth: Mapping[StorePath | None, int],
) -> StorePath | None:
    """Return the lowest path that is above both, or one of them; None is above all."""
    while one != other:
        if depth[one] >= depth[other]:
            one = above[one]
        else:
            other = above[other]
    return one


class _Graph(Struct, frozen=True):
    """What is computed from the graph; the sizes of closures are empty if they are not known."""

    stated: StatedReferences
    known: Collection[StorePath]
    reach: Reach
    closure_sizes: Mapping[StorePath, int]
    added_sizes: Mapping[StorePath, int]

    def layer(self, layer: LayerView, changed_by: int | None) -> LayerView:
        """Return a layer with what the graph tells of it, and what changes it."""
        paths = tuple(map(self._path, layer.paths))
        sizes = [path.size for path in paths if path.size is not None]
        return replace(
            layer,
            paths=paths,
            nar_size=sum(sizes) if paths and len(sizes) == len(paths) else None,
            changed_by=changed_by if paths else None,
        )

    def _path(self, view: PathView) -> PathView:
        path = StorePath(view.path)
        return replace(
            view,
            size=_size(path, view.size, self.stated),
            closure_size=self.closure_sizes.get(path),
            added_size=self.added_sizes.get(path),
            references=tuple(sorted(self.reach.closure.references(path)))
            if path in self.known
            else None,
        )


def _sums(
    reach: Reach, known: Collection[StorePath], *, sized: bool
) -> tuple[Mapping[StorePath, int], Mapping[StorePath, int]]:
    """Return the closure sizes and added sizes; a path of unknown references may refer to any."""
    if not sized or len(known) < len(reach.order):
        return {}, {}
    closure_sizes = dict(zip(reach.order, reach.sums_below(reach.sizes), strict=True))
    return closure_sizes, added_sizes(reach.closure)


def _info(
    path: StorePath,
    size: int | None,
    paths: Collection[StorePath],
    stated: StatedReferences,
) -> PathInfo:
    references: tuple[StorePath, ...] = ()
    if path in stated.known:
        references = tuple(r for r in stated.infos[path].references if r in paths)
    return PathInfo(path, _size(path, size, stated) or 0, references=references)


def _size(path: StorePath, size: int | None, stated: StatedReferences) -> int | None:
    """Return the stated NAR size, if there is one: 0 stands for none."""
    info = stated.infos.get(path)
    return info.nar_size if info is not None and info.nar_size else size
