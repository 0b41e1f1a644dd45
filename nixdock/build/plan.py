"""Planning the layers of a spec."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.build.previous import read_previous
from nixdock.layering import Layering, LayerPlan, layering_of
from nixdock.layering.plan_file import parse_plan
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import parse_location
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.layering_spec import CountsSpec, HistorySpec, LayeringSpec
from nixdock.spec.problem import below_key
from nixdock.system.input_files import parse_json_file, read_bytes

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.oci.descriptor import Platform
    from nixdock.registry.access import Access
    from nixdock.rootfs.base_image import BaseImage

__all__ = ["history_of", "plan_of"]

log = logging.getLogger(__name__)


def plan_of(
    spec: ImageSpec,
    closure: Closure,
    base: BaseImage | None,
    access: Access | None,
    previous: Sequence[PreviousPlan],
) -> LayerPlan:
    """Return the plan of `closure`, on top of `base`, by the layering of `spec`.

    `previous` are the plans to continue, the newest first, if the spec names none. Raise InputError
    if a file of the layering can't be read or is not valid, and PlanError if no plan fits.
    """
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
    _warn_of_volatile(spec.layering, closure)
    plan = layering.plan(closure, budget)
    return plan if given is None else replace(plan, history=given.history)


def _warn_of_volatile(spec: LayeringSpec, closure: Closure) -> None:
    # A warning, not an error, as for groups: one list may be for several images.
    missing = [path for path in spec.volatile if path not in closure]
    if missing:
        log.warning(
            "ignoring volatile paths that are in the base image, or not in the closure: %s%s",
            missing[0],
            f" (and {len(missing) - 1} more)" if len(missing) > 1 else "",
        )


def _given_plan(spec: LayeringSpec) -> PreviousPlan | None:
    if spec.plan is None:
        return None
    with below_key("layering.plan"):
        return parse_plan(read_bytes(Path(spec.plan), "the plan"), spec.plan)


def _layering(
    spec: LayeringSpec,
    given: PreviousPlan | None,
    platform: Platform,
    access: Access | None,
    previous: Sequence[PreviousPlan],
) -> Layering:
    named = []
    for key, text in spec.previous_by_key.items():
        with below_key(key):
            named.append(read_previous(parse_location(text), platform, access))
    groups = list(spec.groups)
    if given is not None:
        groups += [[str(path) for path in layer] for layer in given.layers]
    pipeline = spec.pipeline
    if isinstance(pipeline, str):
        with below_key("layering.pipeline"):
            pipeline = parse_json_file(Path(pipeline), "the pipeline")
    with below_key("layering"):
        return layering_of(
            spec.strategy,
            volatile=spec.volatile,
            previous=named or previous,
            groups=groups,
            rest=spec.rest,
            pipeline=pipeline,
        )


def history_of(spec: ImageSpec, plan: LayerPlan) -> HistorySpec | None:
    """Return the history for the image's memory, if the next image can use that.

    A plan that was given may be that of a family, whose next plan continues it.
    """
    layering = spec.layering
    is_continued = "stable" in layering.strategies or layering.plan is not None
    if not (is_continued and layering.memory and layering.label) or spec.single_layer:
        return None
    history = plan.history or PlanHistory()
    counts = {key: CountsSpec(c.seen, c.changed) for key, c in history.counts.items()}
    return HistorySpec(history.steps, history.app_only, counts)
