"""Views of updates, from the comparison of two images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.diff.result import Status
from nixdock.layering.package_keys import package_keys, split_name
from nixdock.nix.store_path import StorePath
from nixdock.view.update import Needless, PackageChange, PackageStatus, TransferView, UpdateView

if TYPE_CHECKING:
    from nixdock.diff.result import Diff, GoneLayer, NewLayer, PathStatus, Transfer
    from nixdock.view.model import ImageView, LayerView, PathView

__all__ = ["view_of_diff"]


def view_of_diff(diff: Diff, old: ImageView, new: ImageView) -> UpdateView:
    """Return the view of an update from `diff`, the comparison of `old` and `new`."""
    by_number = {layer.layer.number: layer for layer in diff.layers}
    new = replace(new, layers=tuple(_new(layer, by_number) for layer in new.layers))
    old = replace(old, layers=tuple(_old(layer, diff) for layer in old.layers))
    return UpdateView(
        old=old,
        new=new,
        compared_by=diff.basis.value,
        registry=_transfer(diff.transfers.registry),
        docker=_transfer(diff.transfers.docker),
        packages=tuple(_packages(old, new)),
        needless=tuple(_needless(new, by_number)),
        unplanned=tuple(layer.number for layer in diff.unplanned),
    )


def _new(layer: LayerView, by_number: Mapping[int, NewLayer]) -> LayerView:
    found = by_number.get(layer.number)
    if found is None:
        return layer
    statuses = {each.path: each for each in found.paths}
    return replace(
        layer,
        status=found.status,
        other_layer=found.old_layer,
        fetched=found.fetched,
        fetched_by_docker=found.fetched_by_docker,
        changes=tuple(map(str, found.changes)),
        paths=tuple(_path(path, statuses) for path in layer.paths),
    )


def _old(layer: LayerView, diff: Diff) -> LayerView:
    """Return a layer of the old image with what became of it."""
    gone = next((each for each in diff.gone if each.layer.number == layer.number), None)
    if gone is not None:
        return _gone(layer, gone)
    same = [
        each
        for each in diff.layers
        if each.old_layer == layer.number and each.status is not Status.NEW
    ]
    if not same:
        # Left out of the comparison, or the same blob as another layer, which was found first.
        return layer
    status = Status.KEPT if any(each.status is Status.KEPT for each in same) else Status.MOVED
    paths = tuple(
        replace(path, status=Status.KEPT, other_layer=same[0].layer.number) for path in layer.paths
    )
    return replace(layer, status=status, other_layer=same[0].layer.number, paths=paths)


def _gone(layer: LayerView, gone: GoneLayer) -> LayerView:
    statuses = {each.path: each for each in gone.paths}
    return replace(
        layer,
        status=Status.GONE,
        other_layer=gone.new_layer,
        paths=tuple(_path(path, statuses) for path in layer.paths),
    )


def _path(view: PathView, statuses: Mapping[StorePath, PathStatus]) -> PathView:
    found = statuses.get(StorePath(view.path))
    if found is None:
        return view
    return replace(
        view,
        status=found.status,
        other_layer=found.layer,
        replaces=found.replaces,
        reason=found.reason,
    )


def _transfer(transfer: Transfer) -> TransferView:
    return TransferView(
        size=transfer.total,
        layers=transfer.layers,
        layer_size=transfer.layer_bytes,
        config_size=transfer.config_bytes,
        manifest_size=transfer.manifest_bytes,
    )


def _packages(old: ImageView, new: ImageView) -> Iterator[PackageChange]:
    """Yield the packages that change: updated ones first, then by name."""
    before = {StorePath(path.path): path.size for path in old.paths()}
    after = {StorePath(path.path): path.size for path in new.paths()}
    gone = package_keys(before.keys() - after.keys())
    added = package_keys(after.keys() - before.keys())
    changes = []
    # An ordinal in a key tells namesakes apart.
    for key in sorted(gone.keys() | added.keys()):
        left, right = gone.get(key), added.get(key)
        old_version = None if left is None else split_name(left.name)[1]
        new_version = None if right is None else split_name(right.name)[1]
        if left is None or right is None:
            status = PackageStatus.ADDED if left is None else PackageStatus.REMOVED
        else:
            same = left.name == right.name
            status = PackageStatus.REBUILT if same else PackageStatus.UPDATED
        changes.append(
            PackageChange(
                status=status,
                package=key.partition("#")[0],
                old=left,
                new=right,
                old_version=old_version,
                new_version=new_version,
                old_size=None if left is None else before[left],
                new_size=None if right is None else after[right],
            )
        )
    order = [PackageStatus.UPDATED, PackageStatus.ADDED, PackageStatus.REMOVED]
    order.append(PackageStatus.REBUILT)
    yield from sorted(changes, key=lambda change: (order.index(change.status), change.package))


def _needless(new: ImageView, by_number: Mapping[int, NewLayer]) -> Iterator[Needless]:
    for layer in new.layers:
        unchanged = [path for path in layer.paths if path.status not in {Status.NEW, None}]
        if not layer.fetched or not unchanged:
            continue
        sizes = [path.size for path in unchanged if path.size is not None]
        yield Needless(
            layer=layer.number,
            title=layer.title,
            paths=len(unchanged),
            of=len(layer.paths),
            size=sum(sizes) if len(sizes) == len(unchanged) else None,
            reason=unchanged[0].reason or str(by_number[layer.number].changes[0]),
        )
