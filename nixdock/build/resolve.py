"""Resolving a spec: the resolved spec contains its plan and its time, so building plans nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nixdock.build.closure import read_closure
from nixdock.build.previous import check_previous
from nixdock.oci.location import location_text
from nixdock.spec.closure_spec import ClosureSpec, StorePathSpec
from nixdock.spec.image_spec import FromImageSpec, ImageSpec
from nixdock.spec.layering_spec import LayeringSpec
from nixdock.spec.times import source_date_epoch
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure, PathInfo
    from nixdock.registry.access import Access
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.stores.store import Store

__all__ = ["Resolution", "resolve_on_base"]

log = logging.getLogger(__name__)


class Resolution(Struct, frozen=True):
    """A resolved spec, and its plan with what is planned, unless it had been resolved before."""

    spec: ImageSpec
    plan: LayerPlan | None = None
    closure: Closure | None = None

    def plan_document(self, strategy: str) -> dict[str, Any]:
        """Return the plan file, as JSON, which the next image can use as its previous plan."""
        from nixdock.layering.plan import LayerPlan  # noqa: PLC0415 (not for a resolved spec)
        from nixdock.layering.plan_file import plan_document  # noqa: PLC0415 (the same)

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
    check_previous(spec)
    if base is not None and base.pinned is not None:
        pinned = FromImageSpec(location_text(base.pinned))
        spec = msgspec.structs.replace(spec, from_image=pinned)
    if spec.source_date_epoch is None:
        spec = msgspec.structs.replace(spec, source_date_epoch=source_date_epoch())
    unplanned = spec.planned_closure
    if unplanned is None:
        return Resolution(spec)
    from nixdock.build.plan import history_of, plan_of  # noqa: PLC0415 (not for a resolved spec)

    closure = read_closure(unplanned, source, spec.store.directory, registered=spec.nix_db)
    new_paths = _without_base(closure, base, spec.store.directory)
    plan = plan_of(spec, new_paths, base, access, previous)
    described = (closure if spec.nix_db else new_paths).without(plan.removed)
    resolved = msgspec.structs.replace(
        spec,
        closure=_stores_alone(unplanned),
        layering=LayeringSpec(),
        history=history_of(spec, plan),
        store_layers=[[str(path) for path in layer.paths] for layer in plan.layers],
        store_paths={
            str(info.path): _store_path_spec(info, with_references=spec.nix_db)
            for info in described
        },
    )
    return Resolution(resolved, plan, new_paths)


def _without_base(closure: Closure, base: BaseImage | None, store_dir: str) -> Closure:
    if base is None:
        return closure
    store = base.store(store_dir)
    found = [info for info in closure if info.path in store.paths]
    in_base = [info.path for info in found if store.has_whole(info)]
    if len(in_base) < len(found):
        parts = len(found) - len(in_base)
        log.info("in the base image in part, and stored whole: %s", counted(parts, "store path"))
    if in_base:
        log.info(
            "%d of %d store paths are in the base image already: %d bytes are not stored again",
            len(in_base),
            len(closure),
            sum(closure[path].nar_size for path in in_base),
        )
    return closure.without(in_base)


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
