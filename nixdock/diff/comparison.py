"""The comparison itself, a pure function of both sides.

A layer is the same where its digest is, or else its store paths in their order. A layer that the
old side has not replaces the one there that has most in common with it: the same store paths, or
other versions of them. A store path has moved when it is in a layer that neither is nor replaces
the one where it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

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
from nixdock.diff.side import Basis, Document, Side, SideKind, SideLayer, basis_of
from nixdock.layering.package_keys import package_keys

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["compare_sides"]


def compare_sides(old: Side, new: Side) -> Diff:
    """Return what becomes of `old`'s layers and store paths in `new`, and what is transferred."""
    basis = basis_of(old, new)
    unplanned: tuple[SideLayer, ...] = ()
    if basis is Basis.STORE_PATHS and new.kind is not old.kind:
        image = new if new.kind == SideKind.IMAGE else old
        unplanned = tuple(layer for layer in image.layers if not layer.paths)
    comparison = _Comparison(_planned(old, unplanned), _planned(new, unplanned), basis)
    return Diff(
        old=old,
        new=new,
        basis=basis,
        layers=tuple(comparison.new_layers()),
        gone=tuple(comparison.gone_layers()),
        unplanned=unplanned,
        transfers=_transfers(comparison, old, new),
    )


def _planned(side: Side, unplanned: Sequence[SideLayer]) -> tuple[SideLayer, ...]:
    return tuple(layer for layer in side.layers if not unplanned or layer.paths)


def _transfers(comparison: _Comparison, old: Side, new: Side) -> Transfers:
    transfer = Transfer(
        layers=0,
        layer_bytes=0,
        config_bytes=_size(new.config, old.config),
        manifest_bytes=_size(new.manifest, old.manifest),
    )

    def of(indices: Iterable[int]) -> Transfer:
        # A blob that stands twice is fetched once.
        blobs = {comparison.new_ids[i]: comparison.new[i].size for i in indices}
        return replace(transfer, layers=len(blobs), layer_bytes=sum(blobs.values()))

    return Transfers(registry=of(comparison.unknown), docker=of(comparison.above_change))


def _size(document: Document | None, known: Document | None) -> int:
    return 0 if document is None or document == known else document.size


@dataclass(frozen=True)
class _Comparison:
    """The layers of both sides; indices count them from 0, less those left out."""

    old: tuple[SideLayer, ...]
    new: tuple[SideLayer, ...]
    basis: Basis

    def new_layers(self) -> Iterator[NewLayer]:
        """Yield what became of each layer of the new side."""
        for i, layer in enumerate(self.new):
            same = self.same.get(i)
            if same is not None:
                status = Status.KEPT if same == i else Status.MOVED
                changes: tuple[Change, ...] = ()
            else:
                status = Status.NEW
                changes = tuple(self._changes(i))
            source = self.replaced.get(i) if same is None else same
            yield NewLayer(
                layer=layer,
                status=status,
                old_layer=None if source is None else self.old[source].number,
                fetched=i in self.unknown,
                fetched_by_docker=i in self.above_change,
                changes=changes,
                paths=tuple(self._new_path(path, source, changes) for path in layer.paths),
            )

    def gone_layers(self) -> Iterator[GoneLayer]:
        """Yield the layers of the old side that the new one has not."""
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
        """The old layer that a new one is; that of the same number, if there are several."""
        first: dict[Hashable, int] = {}
        for i, identity in enumerate(self.old_ids):
            first.setdefault(identity, i)
        return {
            i: i if self.old_ids[i : i + 1] == [identity] else first[identity]
            for i, identity in enumerate(self.new_ids)
            if identity in first
        }

    @cached_property
    def unknown(self) -> frozenset[int]:
        """The new layers that are not among the old ones."""
        return frozenset(range(len(self.new))) - self.same.keys()

    @cached_property
    def above_change(self) -> frozenset[int]:
        """The first new layer that is not the old one of its number, and all above."""
        kept = 0
        while kept < min(len(self.old), len(self.new)) and self.old_ids[kept] == self.new_ids[kept]:
            kept += 1
        return frozenset(range(kept, len(self.new)))

    @cached_property
    def old_homes(self) -> Mapping[StorePath, list[int]]:
        """The old layers that hold a store path: more than one, where an upper one hides it."""
        return _homes(self.old)

    @cached_property
    def new_homes(self) -> Mapping[StorePath, list[int]]:
        """The new layers that hold a store path."""
        return _homes(self.new)

    @cached_property
    def predecessors(self) -> dict[StorePath, StorePath]:
        """For new store paths, the ones of the same package that are gone."""
        gone = package_keys(self.old_homes.keys() - self.new_homes.keys())
        new = package_keys(self.new_homes.keys() - self.old_homes.keys())
        return {path: gone[key] for key, path in new.items() if key in gone}

    @cached_property
    def replaced(self) -> dict[int, int]:
        """For layers of the new side alone, that of the old side alone which they replace."""
        shared: Counter[tuple[int, int]] = Counter()
        renewed: Counter[tuple[int, int]] = Counter()
        comments: dict[str, list[int]] = defaultdict(list)
        known = set(self.new_ids)
        free = {i for i, identity in enumerate(self.old_ids) if identity not in known}
        for i in sorted(free):
            if not self.old[i].paths:
                comments[self.old[i].comment].append(i)
        for i in self.unknown:
            for path in self.new[i].paths:
                before = self.predecessors.get(path, path)
                count = shared if before is path else renewed
                count.update((i, j) for j in self.old_homes.get(before, ()) if j in free)
            if not self.new[i].paths:
                shared.update((i, j) for j in comments[self.new[i].comment])
        pairs = sorted(
            shared.keys() | renewed.keys(),
            key=lambda p: (-shared[p] - renewed[p], -shared[p], abs(p[0] - p[1]), p),
        )
        found: dict[int, int] = {}
        for i, j in pairs:
            if i not in found and j in free:
                found[i] = j
                free.remove(j)
        return found

    def _changes(self, i: int) -> Iterator[Change]:
        """Yield how a new layer differs from the one that it replaces, the weightiest first."""
        source = self.replaced.get(i)
        before = () if source is None else self.old[source].paths
        after = self.new[i].paths
        own, former = set(after), set(before)
        for path in after:
            if path not in self.old_homes:
                yield Change(Cause.NEW, path, self.predecessors.get(path))
        for path in after:
            if path not in former and path in self.old_homes:
                yield Change(
                    Cause.ARRIVED, path, layer=self._number(self.old, self.old_homes[path])
                )
        successors = {self.predecessors.get(path) for path in after}
        for path in before:
            if path not in own and path in self.new_homes:
                yield Change(Cause.LEFT, path, layer=self._number(self.new, self.new_homes[path]))
            elif path not in own and path not in successors:
                yield Change(Cause.GONE, path)
        if source is not None and own == former:
            yield Change(Cause.BYTES if before == after else Cause.ORDER)

    def _new_path(
        self, path: StorePath, source: int | None, changes: Sequence[Change]
    ) -> PathStatus:
        homes = self.old_homes.get(path)
        if homes is None:
            return PathStatus(path, Status.NEW, replaces=self.predecessors.get(path))
        if source in homes:
            reason = changes[0].of_neighbour() if changes else None
            return PathStatus(path, Status.KEPT, self._number(self.old, [source]), reason=reason)
        layer = self._number(self.old, homes)
        return PathStatus(path, Status.MOVED, layer, reason=f"it was in layer {layer}")

    def _old_path(self, path: StorePath, target: int | None) -> PathStatus:
        homes = self.new_homes.get(path)
        if homes is None:
            return PathStatus(path, Status.GONE)
        if target in homes:
            return PathStatus(path, Status.KEPT, self._number(self.new, [target]))
        return PathStatus(path, Status.MOVED, self._number(self.new, homes))

    @staticmethod
    def _number(layers: Sequence[SideLayer], indices: Sequence[int]) -> int:
        # What an upper layer holds again hides what is below.
        return layers[indices[-1]].number


def _homes(layers: Sequence[SideLayer]) -> Mapping[StorePath, list[int]]:
    homes: dict[StorePath, list[int]] = defaultdict(list)
    for i, layer in enumerate(layers):
        for path in layer.paths:
            homes[path].append(i)
    return dict(homes)
