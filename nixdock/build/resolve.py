"""Resolving a spec: its plan made and its time settled, so that building it plans nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nixdock.build.previous import read_previous
from nixdock.errors import InputError, SpecError
from nixdock.layering import Layering, LayerPlan, layering_of
from nixdock.layering.plan_file import parse_plan, plan_document
from nixdock.layering.plan_label import PLAN_LABEL, plan_label
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.oci.limits import MOST_LAYERS
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.image_spec import ImageSpec, LayeringSpec, StorePathSpec
from nixdock.spec.times import source_date_epoch
from nixdock.system.input_files import parse_json_file, read_bytes

__all__ = ["Resolution", "resolve"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """A spec that plans nothing any more, and the plan in it if it was made just now."""

    spec: ImageSpec
    plan: LayerPlan | None = None

    def plan_document(self, strategy: str) -> dict[str, Any]:
        """Return the plan file, for the image that comes next."""
        plan = self.plan or LayerPlan(())
        return plan_document(plan, strategy, plan.history)


def resolve(spec: ImageSpec, base: BaseImage | None = None) -> Resolution:
    """Return the spec with its plan made, on top of `base`, and its time settled.

    So that neither the graph nor SOURCE_DATE_EPOCH is needed any more. Store paths that the base
    image holds are left out of the plan.
    """
    if spec.source_date_epoch is None:
        spec = msgspec.structs.replace(spec, source_date_epoch=source_date_epoch())
    if spec.closure is None:
        return Resolution(spec)
    closure = _closure_of(spec)
    added = _without_base(closure, base, spec.store.directory)
    plan = _plan(spec, added, base)
    known = (closure if spec.nix_db else added).without(plan.removed)
    made = msgspec.structs.replace(
        spec,
        closure=None,
        layering=LayeringSpec(),
        config=_with_label(spec, plan),
        store_layers=[[str(path) for path in layer.paths] for layer in plan.layers],
        store_paths={str(info.path): _known(info, with_references=spec.nix_db) for info in known},
    )
    return Resolution(made, plan)


def _without_base(closure: Closure, base: BaseImage | None, store_dir: str) -> Closure:
    if base is None:
        return closure
    there = [path for path in base.store(store_dir).paths if path in closure]
    if there:
        log.info(
            "%d of %d store paths are in the base image already: %d bytes are not stored again",
            len(there),
            len(closure),
            sum(closure[path].nar_size for path in there),
        )
    return closure.without(there)


def _plan(spec: ImageSpec, closure: Closure, base: BaseImage | None) -> LayerPlan:
    if not len(closure):
        return LayerPlan(())
    if spec.single_layer:
        return LayerPlan.of(closure, [[info.path for info in closure]])
    layering = _layering(spec.layering)
    budget = layering.budget(
        spec.max_layers,
        base_layers=0 if base is None else len(base.layers),
        top_layers=2 if spec.nix_db else 1,
        most_layers=MOST_LAYERS,
    )
    return layering.plan(closure, budget)


def _layering(spec: LayeringSpec) -> Layering:
    previous = None if spec.previous is None else read_previous(Path(spec.previous))
    groups = list(spec.groups)
    if spec.plan is not None:
        made = parse_plan(read_bytes(Path(spec.plan), "the plan"), spec.plan)
        groups += [[str(path) for path in layer] for layer in made.layers]
    pipeline = spec.pipeline
    if isinstance(pipeline, str):
        pipeline = parse_json_file(Path(pipeline), "the pipeline")
    return layering_of(
        spec.strategy,
        volatile=spec.volatile,
        previous=previous,
        groups=groups,
        rest=spec.rest,
        pipeline=pipeline,
    )


def _with_label(spec: ImageSpec, plan: LayerPlan) -> dict[str, Any]:
    """Return the config with the plan in a label, if the next image can make use of it."""
    if spec.layering.strategy != "stable" or not spec.layering.label or spec.single_layer:
        return spec.config
    label = plan_label(plan)
    if label is None:
        return spec.config
    labels = spec.config.get("Labels") or {}
    return {**spec.config, "Labels": {**labels, PLAN_LABEL: label}}


def _known(info: PathInfo, *, with_references: bool) -> StorePathSpec:
    return StorePathSpec(
        nar_size=info.nar_size,
        nar_hash=str(info.nar_hash) if info.nar_hash else None,
        references=[str(path) for path in info.references] if with_references else None,
        deriver=info.deriver if with_references else None,
    )


def _closure_of(spec: ImageSpec) -> Closure:
    if spec.closure is None:
        return Closure.of(())
    graph = Path(spec.closure.graph)
    data = read_bytes(graph, "the closure's graph")
    closure = parse_closure(data, spec.closure.keys, str(graph))
    directory = spec.store.directory
    for path in closure.infos:
        if path.store_dir != directory:
            raise SpecError(f"closure: {path} does not lie in the store {directory}")
    try:
        excluded = [StorePath.parse(path, directory) for path in spec.closure.exclude]
    except InputError as error:
        raise SpecError(f"closure.exclude: {error}") from None
    if spec.nix_db:
        _check_registrable(closure, frozenset(excluded))
    return closure.without(excluded)


def _check_registrable(closure: Closure, excluded: frozenset[StorePath]) -> None:
    for info in closure:
        for reference in info.references:
            if reference in excluded and info.path not in excluded:
                raise SpecError(
                    f"closure.exclude: {info.path} refers to {reference}, without which a database"
                    " can't register it; keep it, or exclude both"
                )
