"""The comparison of two sides, as a pure function.

Two layers are the same if their digests are equal or, without digests, if they have the same store
paths in the same order. A layer that is only on the new side replaces the one of the old side with
which it has most in common: the same store paths, or other versions of them. A store path has moved
if its new layer neither is its old layer nor replaces it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.diff.result import (
    Cause,
    Change,
    Diff,
    GoneLayer,
    NewLayer,
    PathStatus,
    Status,
    Transfer,
    Transfers,
)
from nixdock.diff.side import Basis, Document, Side, SideLayer, basis_of
from nixdock.layering.package_keys import package_keys

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["compare_sides"]


def compare_sides(old: Side, new: Side) -> Diff:
    """Return which layers and store paths of `new` are in `old`, and what an update transfers."""
    basis = basis_of(old, new)
    unplanned: tuple[SideLayer, ...] = ()
    if new.kind.has_blobs is not old.kind.has_blobs:
        image = new if new.kind.has_blobs else old
        unplanned = tuple(layer for layer in image.layers if not layer.paths)
    comparison = _Comparison(_compared(old, unplanned), _compared(new, unplanned), basis)
    return Diff(
        old=old,
        new=new,
        basis=basis,
        layers=tuple(comparison.new_layers()),
        gone=tuple(comparison.gone_layers()),
        unplanned=unplanned,
        transfers=_transfers(comparison, old, new),
    )


def _compared(side: Side, unplanned: Sequence[SideLayer]) -> tuple[SideLayer, ...]:
    return tuple(layer for layer in side.layers if not unplanned or layer.paths)


def _transfers(comparison: _Comparison, old: Side, new: Side) -> Transfers:
    documents = Transfer(
        layers=0,
        layer_bytes=0,
        config_bytes=_size(new.config, old.config),
        manifest_bytes=_size(new.manifest, old.manifest),
    )

    def with_layers(indices: Iterable[int]) -> Transfer:
        # Several layers may be the same blob, which is fetched once.
        blobs = {comparison.new_ids[i]: comparison.new[i].size for i in indices}
        return replace(documents, layers=len(blobs), layer_bytes=sum(blobs.values()))

    return Transfers(
        registry=with_layers(comparison.added), docker=with_layers(comparison.from_first_change)
    )


def _size(document: Document | None, known: Document | None) -> int:
    return 0 if document is None or document == known else document.size


@dataclass(frozen=True)
class _Comparison:
    """The layers of both sides, without unplanned ones; layers are identified by their indices."""

    old: tuple[SideLayer, ...]
    new: tuple[SideLayer, ...]
    basis: Basis

    def new_layers(self) -> Iterator[NewLayer]:
        """Yield each layer of the new side."""
        for i, layer in enumerate(self.new):
            same = self.same.get(i)
            if same is not None:
                status = Status.KEPT if same == i else Status.MOVED
                changes: tuple[Change, ...] = ()
            else:
                status = Status.NEW
                changes = tuple(self._changes(i))
            old_index = self.replaced.get(i) if same is None else same
            yield NewLayer(
                layer=layer,
                status=status,
                old_layer=None if old_index is None else self.old[old_index].number,
                fetched=i in self.added,
                fetched_by_docker=i in self.from_first_change,
                changes=changes,
                paths=tuple(self._new_path(path, old_index, changes) for path in layer.paths),
            )

    def gone_layers(self) -> Iterator[GoneLayer]:
        """Yield the layers that are only on the old side."""
        new_ids = set(self.new_ids)
        replacing = {old: new for new, old in self.replaced.items()}
        for i, layer in enumerate(self.old):
            if self.old_ids[i] not in new_ids:
                new = replacing.get(i)
                number = None if new is None else self.new[new].number
                paths = tuple(self._old_path(path, new) for path in layer.paths)
                yield GoneLayer(layer, number, paths)

    @cached_property
    def old_ids(self) -> list[Hashable]:
        """The identities of the old layers."""
        return [*map(self.basis.identity, self.old)]

    @cached_property
    def new_ids(self) -> list[Hashable]:
        """The identities of the new layers."""
        return [*map(self.basis.identity, self.new)]

    @cached_property
    def same(self) -> dict[int, int]:
        """For new layers, the same layer of the old side: at the same index, or else the first."""
        first: dict[Hashable, int] = {}
        for i, identity in enumerate(self.old_ids):
            first.setdefault(identity, i)
        return {
            i: i if self.old_ids[i : i + 1] == [identity] else first[identity]
            for i, identity in enumerate(self.new_ids)
            if identity in first
        }

    @cached_property
    def added(self) -> frozenset[int]:
        """The layers that are only on the new side."""
        return frozenset(range(len(self.new))) - self.same.keys()

    @cached_property
    def from_first_change(self) -> frozenset[int]:
        """The first new layer that differs from the old one at its index, and all above it."""
        kept = 0
        while kept < min(len(self.old), len(self.new)) and self.old_ids[kept] == self.new_ids[kept]:
            kept += 1
        return frozenset(range(kept, len(self.new)))

    @cached_property
    def old_layers_of(self) -> Mapping[StorePath, list[int]]:
        """The old layers with each store path, bottom to top; an upper layer hides lower ones."""
        return _layers_of(self.old)

    @cached_property
    def new_layers_of(self) -> Mapping[StorePath, list[int]]:
        """The new layers with each store path, bottom to top."""
        return _layers_of(self.new)

    @cached_property
    def predecessors(self) -> dict[StorePath, StorePath]:
        """For new store paths, the gone store path of the same package."""
        gone = package_keys(self.old_layers_of.keys() - self.new_layers_of.keys())
        new = package_keys(self.new_layers_of.keys() - self.old_layers_of.keys())
        return {path: gone[key] for key, path in new.items() if key in gone}

    @cached_property
    def replaced(self) -> dict[int, int]:
        """For layers only on the new side, the layer only on the old side that they replace.

        Pairs are formed greedily: those with most in common first, then those with more unchanged
        store paths, then those closest to each other. Layers without store paths have their history
        comments in common.
        """
        unchanged: Counter[tuple[int, int]] = Counter()
        updated: Counter[tuple[int, int]] = Counter()
        comments: dict[str, list[int]] = defaultdict(list)
        known = set(self.new_ids)
        free = {i for i, identity in enumerate(self.old_ids) if identity not in known}
        for i in sorted(free):
            if not self.old[i].paths:
                comments[self.old[i].comment].append(i)
        for i in self.added:
            for path in self.new[i].paths:
                before = self.predecessors.get(path, path)
                count = unchanged if before is path else updated
                count.update((i, j) for j in self.old_layers_of.get(before, ()) if j in free)
            if not self.new[i].paths:
                unchanged.update((i, j) for j in comments[self.new[i].comment])
        pairs = sorted(
            unchanged.keys() | updated.keys(),
            key=lambda p: (-unchanged[p] - updated[p], -unchanged[p], abs(p[0] - p[1]), p),
        )
        replaced: dict[int, int] = {}
        for i, j in pairs:
            if i not in replaced and j in free:
                replaced[i] = j
                free.remove(j)
        return replaced

    def _changes(self, i: int) -> Iterator[Change]:
        """Yield how a new layer differs from the one that it replaces, the main change first."""
        old_index = self.replaced.get(i)
        before = () if old_index is None else self.old[old_index].paths
        after = self.new[i].paths
        new_paths, old_paths = set(after), set(before)
        for path in after:
            if path not in self.old_layers_of:
                yield Change(Cause.NEW, path, self.predecessors.get(path))
        for path in after:
            if path not in old_paths and path in self.old_layers_of:
                layer = _top_number(self.old, self.old_layers_of[path])
                yield Change(Cause.ARRIVED, path, layer=layer)
        successors = {self.predecessors.get(path) for path in after}
        for path in before:
            if path not in new_paths and path in self.new_layers_of:
                layer = _top_number(self.new, self.new_layers_of[path])
                yield Change(Cause.LEFT, path, layer=layer)
            elif path not in new_paths and path not in successors:
                yield Change(Cause.GONE, path)
        if not after:
            yield Change(Cause.NEW if old_index is None else Cause.FILES)
        elif old_index is not None and new_paths == old_paths:
            yield Change(Cause.BYTES if before == after else Cause.ORDER)

    def _new_path(
        self, path: StorePath, old_index: int | None, changes: Sequence[Change]
    ) -> PathStatus:
        indices = self.old_layers_of.get(path)
        if indices is None:
            return PathStatus(path, Status.NEW, replaces=self.predecessors.get(path))
        if old_index is not None and old_index in indices:
            reason = changes[0].of_neighbour() if changes else None
            return PathStatus(path, Status.KEPT, self.old[old_index].number, reason=reason)
        layer = _top_number(self.old, indices)
        return PathStatus(path, Status.MOVED, layer, reason=f"it was in layer {layer}")

    def _old_path(self, path: StorePath, new_index: int | None) -> PathStatus:
        indices = self.new_layers_of.get(path)
        if indices is None:
            return PathStatus(path, Status.GONE)
        if new_index is not None and new_index in indices:
            return PathStatus(path, Status.KEPT, self.new[new_index].number)
        return PathStatus(path, Status.MOVED, _top_number(self.new, indices))


def _top_number(layers: Sequence[SideLayer], indices: Sequence[int]) -> int:
    """Return the number of the topmost layer; it hides its store paths in lower layers."""
    return layers[indices[-1]].number


def _layers_of(layers: Sequence[SideLayer]) -> Mapping[StorePath, list[int]]:
    indices: dict[StorePath, list[int]] = defaultdict(list)
    for i, layer in enumerate(layers):
        for path in layer.paths:
            indices[path].append(i)
    return dict(indices)
