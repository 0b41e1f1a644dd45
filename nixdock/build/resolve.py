"""Resolving a spec: the resolved spec contains its plan and its time, so building plans nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nixdock.build.previous import read_previous
from nixdock.errors import InputError, SpecError
from nixdock.layering import Layering, LayerPlan, layering_of
from nixdock.layering.plan_file import parse_plan, plan_document
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.oci.descriptor import Platform
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import location_text, parse_location
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.closure_spec import ClosureSpec, StorePathSpec
from nixdock.spec.image_spec import CountsSpec, FromImageSpec, HistorySpec, ImageSpec, LayeringSpec
from nixdock.spec.times import source_date_epoch
from nixdock.stores.store import Store
from nixdock.system.input_files import parse_json_file, read_bytes

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["Resolution", "read_closure", "resolve_on_base"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """A resolved spec, and its plan unless the spec had been resolved before."""

    spec: ImageSpec
    plan: LayerPlan | None = None

    def plan_document(self, strategy: str) -> dict[str, Any]:
        """Return the plan file, as JSON, which the next image can use as its previous plan."""
        plan = self.plan or LayerPlan(())
        return plan_document(plan, strategy, plan.history)


def resolve_on_base(
    spec: ImageSpec,
    base: BaseImage | None,
    source: Store,
    access: Access | None = None,
    previous: Sequence[PreviousPlan] = (),
) -> Resolution:
    """Return the resolved spec, which needs neither the graph nor SOURCE_DATE_EPOCH.

    The closure of roots without a graph is that in `source`. The plan leaves out the store paths of
    `base`, which is named by its digest if it is in a registry. A spec without a closure keeps its
    plan. `previous` are the plans to continue, the newest first, if the spec names none. Raise
    InputError if the closure or a file of the layering can't be read or is not valid, and PlanError
    if no plan fits.
    """
    if base is not None and base.pinned is not None:
        pinned = FromImageSpec(location_text(base.pinned))
        spec = msgspec.structs.replace(spec, from_image=pinned)
    if spec.source_date_epoch is None:
        spec = msgspec.structs.replace(spec, source_date_epoch=source_date_epoch())
    unplanned = spec.planned_closure
    if unplanned is None:
        return Resolution(spec)
    closure = read_closure(unplanned, source, spec.store.directory, registered=spec.nix_db)
    new_paths = _without_base(closure, base, spec.store.directory)
    plan = _plan(spec, new_paths, base, access, previous)
    described = (closure if spec.nix_db else new_paths).without(plan.removed)
    resolved = msgspec.structs.replace(
        spec,
        closure=_stores_alone(unplanned),
        layering=LayeringSpec(),
        history=_history(spec, plan),
        store_layers=[[str(path) for path in layer.paths] for layer in plan.layers],
        store_paths={
            str(info.path): _store_path_spec(info, with_references=spec.nix_db)
            for info in described
        },
    )
    return Resolution(resolved, plan)


def _without_base(closure: Closure, base: BaseImage | None, store_dir: str) -> Closure:
    if base is None:
        return closure
    in_base = [path for path in base.store(store_dir).paths if path in closure]
    if in_base:
        log.info(
            "%d of %d store paths are in the base image already: %d bytes are not stored again",
            len(in_base),
            len(closure),
            sum(closure[path].nar_size for path in in_base),
        )
    return closure.without(in_base)


def _plan(
    spec: ImageSpec,
    closure: Closure,
    base: BaseImage | None,
    access: Access | None,
    previous: Sequence[PreviousPlan],
) -> LayerPlan:
    if not len(closure):
        return LayerPlan(())
    if spec.single_layer:
        return LayerPlan.of(closure, [[info.path for info in closure]])
    given = _given_plan(spec.layering)
    layering = _layering(spec.layering, given, spec.platform, access, previous)
    budget = layering.budget(
        spec.max_layers,
        base_layers=0 if base is None else len(base.layers),
        top_layers=2 if spec.nix_db else 1,
        most_layers=MOST_LAYERS,
    )
    plan = layering.plan(closure, budget)
    return plan if given is None else replace(plan, history=given.history)


def _given_plan(spec: LayeringSpec) -> PreviousPlan | None:
    if spec.plan is None:
        return None
    return parse_plan(read_bytes(Path(spec.plan), "the plan"), spec.plan)


def _layering(
    spec: LayeringSpec,
    given: PreviousPlan | None,
    platform: Platform,
    access: Access | None,
    previous: Sequence[PreviousPlan],
) -> Layering:
    named = [
        read_previous(parse_location(text), platform, access) for text in spec.previous_locations
    ]
    groups = list(spec.groups)
    if given is not None:
        groups += [[str(path) for path in layer] for layer in given.layers]
    pipeline = spec.pipeline
    if isinstance(pipeline, str):
        pipeline = parse_json_file(Path(pipeline), "the pipeline")
    return layering_of(
        spec.strategy,
        volatile=spec.volatile,
        previous=named or previous,
        groups=groups,
        rest=spec.rest,
        pipeline=pipeline,
    )


def _history(spec: ImageSpec, plan: LayerPlan) -> HistorySpec | None:
    """Return the history for the image's memory, if the next image can use that.

    A plan that was given may be that of a family, whose next plan continues it.
    """
    layering = spec.layering
    is_continued = layering.strategy == "stable" or layering.plan is not None
    if not (is_continued and layering.memory and layering.label) or spec.single_layer:
        return None
    history = plan.history or PlanHistory()
    counts = {key: CountsSpec(c.seen, c.changed) for key, c in history.counts.items()}
    return HistorySpec(history.steps, history.app_only, counts)


def _stores_alone(closure: ClosureSpec) -> ClosureSpec | None:
    """Return where the store paths of a resolved spec are, if not in the local store alone."""
    if not closure.stores:
        return None
    return ClosureSpec(stores=closure.stores, trusted_public_keys=closure.trusted_public_keys)


def _store_path_spec(info: PathInfo, *, with_references: bool) -> StorePathSpec:
    return StorePathSpec(
        nar_size=info.nar_size,
        nar_hash=str(info.nar_hash) if info.nar_hash else None,
        references=[str(path) for path in info.references] if with_references else None,
        deriver=info.deriver if with_references else None,
    )


def read_closure(spec: ClosureSpec, source: Store, store_dir: str, *, registered: bool) -> Closure:
    """Return the closure of the roots, without the excluded paths; without a graph, ask `source`.

    With `registered`, for a Nix database, raise SpecError if another path refers to one of them.
    """
    if spec.graph is None:
        closure = source.closure([*_parse_paths(spec.roots, "closure.roots", store_dir)])
    else:
        closure = _of_graph(spec, Path(spec.graph), store_dir)
    excluded = frozenset(_parse_paths(spec.exclude, "closure.exclude", store_dir))
    if registered:
        _check_registrable(closure, excluded)
    return closure.without(excluded)


def _of_graph(spec: ClosureSpec, graph: Path, store_dir: str) -> Closure:
    closure = parse_closure(read_bytes(graph, "the closure's graph"), spec.keys, str(graph))
    for path in closure.infos:
        if path.store_dir != store_dir:
            raise SpecError(
                f"closure.graph: {path} is not in the store {store_dir}",
                key="closure.graph",
                path=path,
            )
    if spec.roots:
        closure = closure.reached_from(_parse_roots(spec, closure, store_dir))
    return closure


def _parse_roots(spec: ClosureSpec, closure: Closure, store_dir: str) -> Iterator[StorePath]:
    for i, path in enumerate(_parse_paths(spec.roots, "closure.roots", store_dir)):
        if path not in closure:
            key = f"closure.roots[{i}]"
            raise SpecError(f"{key}: {path} is not in the graph {spec.graph}", key=key, path=path)
        yield path


def _parse_paths(paths: Sequence[str], key: str, store_dir: str) -> Iterator[StorePath]:
    for i, path in enumerate(paths):
        try:
            yield StorePath.parse(path, store_dir)
        except InputError as error:
            raise SpecError(f"{key}[{i}]: {error}", key=f"{key}[{i}]", path=path) from None


def _check_registrable(closure: Closure, excluded: frozenset[StorePath]) -> None:
    for info in closure:
        for reference in info.references:
            if reference in excluded and info.path not in excluded:
                raise SpecError(
                    f"closure.exclude: {info.path} refers to {reference}, without which a database"
                    " can't register it; keep it, or exclude both",
                    key="closure.exclude",
                    path=info.path,
                )
