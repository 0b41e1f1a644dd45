"""From a spec to layer sources and to the image: the line that all commands walk."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import orjson

from nixdock.base_image import BaseImage, inherit, open_base_image
from nixdock.closure import Closure, PathInfo
from nixdock.container_config import ContainerConfig, container_config
from nixdock.errors import PlanError, SpecError
from nixdock.image import HistoryEntry, Image, Platform
from nixdock.input_file import read_bytes
from nixdock.layer import Layer, LayerSource, Source, StoreLayer, TarLayer
from nixdock.layering import MOST_LAYERS
from nixdock.nixdb import nix_db_layer
from nixdock.reference import Reference
from nixdock.registrations import Registrations, merge_registrations
from nixdock.resolve import Resolution, resolve
from nixdock.single_layer import SingleLayer
from nixdock.spec import ImageSpec, StorePathSpec, checked_config, parse_spec, permission_rules
from nixdock.store_path import Hash, StorePath
from nixdock.stream_conf import is_stream_conf, parse_stream_conf
from nixdock.tar_header import MemberMeta
from nixdock.time import parse_time, rfc3339, source_date_epoch
from nixdock.top_layer import packed, prepared_tree, read_top_layer

__all__ = ["Build", "prepared_build", "read_spec", "resolved", "top_layer_source"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Build:
    """All that an image is made from: layer sources, bottom to top, and its description."""

    sources: tuple[Source, ...]
    reference: Reference
    platform: Platform
    container: Mapping[str, Any]
    created: str
    mtime: int
    base_history: tuple[HistoryEntry, ...] = ()

    def assemble(self, layers: Sequence[Layer]) -> Image:
        """Describe the packed layers as an image."""
        return Image.of(
            layers,
            reference=self.reference,
            platform=self.platform,
            container=self.container,
            created=self.created,
            base_history=self.base_history,
        )


def read_spec(file: Path) -> ImageSpec:
    """Read an image spec or dockerTools' stream configuration; raise SpecError.

    Relative names of files in a spec count from the spec's own directory.
    """
    data = read_bytes(file, "the spec")
    origin = str(file)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SpecError(f"{origin}: not valid JSON: {error}") from None
    if is_stream_conf(document):
        return parse_stream_conf(document, origin)
    spec = parse_spec(data, origin)
    changes: dict[str, Any] = {}
    if spec.closure is not None:
        graph = str(file.parent / spec.closure.graph)
        changes["closure"] = msgspec.structs.replace(spec.closure, graph=graph)
    if spec.from_image is not None:
        path = str(file.parent / spec.from_image.path)
        changes["from_image"] = msgspec.structs.replace(spec.from_image, path=path)
    layering = {
        key: str(file.parent / value)
        for key in ("previous", "plan", "pipeline")
        if isinstance(value := getattr(spec.layering, key), str)
    }
    if layering:
        changes["layering"] = msgspec.structs.replace(spec.layering, **layering)
    return msgspec.structs.replace(spec, **changes)


def resolved(spec: ImageSpec) -> Resolution:
    """Return the spec with its plan made and its time settled."""
    with _base_image(spec) as base:
        return resolve(spec, base)


@contextmanager
def prepared_build(spec: ImageSpec) -> Iterator[Build]:
    """Give the build that `spec` describes; what it is made from lasts as long as the block."""
    with _base_image(spec) as base:
        spec = resolve(spec, base).spec
        typed, unknown = checked_config(spec.config, "the spec")
        for key in unknown:
            log.warning("config.%s is left out: no image specification defines it", key)
        with _own_layer(spec, base) as top_layer, _nix_db_sources(spec, base) as nix_db:
            base_layers = [] if base is None else base.sources()
            sources: tuple[Source, ...] = (*base_layers, *_own_sources(spec, top_layer), *nix_db)
            if len(sources) > MOST_LAYERS:
                raise PlanError(
                    f"the image would have {len(sources)} layers, {len(base_layers)} of them of"
                    f" its base image, but Docker takes {MOST_LAYERS} at most; lower max_layers"
                )
            yield Build(
                sources=sources,
                reference=spec.reference,
                platform=_platform(spec),
                container=container_config(_inherited(spec, typed, base)),
                created=rfc3339(
                    _own_time(spec) if spec.created is None else parse_time(spec.created)
                ),
                mtime=_own_time(spec),
                base_history=() if base is None else base.history,
            )


@contextmanager
def _base_image(spec: ImageSpec) -> Iterator[BaseImage | None]:
    if spec.from_image is None:
        yield None
        return
    path, name, tag = spec.from_image.path, spec.from_image.name, spec.from_image.tag
    platform = _platform(spec)
    with open_base_image(Path(path), name, tag, platform) as base:
        if base.platform.architecture not in {"", platform.architecture}:
            log.warning(
                "the base image is for %s, but this one says that it is for %s",
                base.platform.architecture,
                platform.architecture,
            )
        yield base


def _platform(spec: ImageSpec) -> Platform:
    return Platform(spec.architecture, "linux", spec.variant)


def _inherited(spec: ImageSpec, own: ContainerConfig, base: BaseImage | None) -> ContainerConfig:
    if base is None:
        return own
    return inherit(base.container, own, everything=spec.inherit_config == "all")


def _own_time(spec: ImageSpec) -> int:
    """Return the time of what the build itself makes."""
    return source_date_epoch() if spec.source_date_epoch is None else spec.source_date_epoch


@contextmanager
def top_layer_source(spec: ImageSpec) -> Iterator[LayerSource]:
    """Give the source of the spec's top layer."""
    with _base_image(spec) as base, _own_layer(spec, base) as source:
        yield source


@contextmanager
def _own_layer(spec: ImageSpec, base: BaseImage | None) -> Iterator[LayerSource]:
    if spec.top_layer is not None:
        yield read_top_layer(Path(spec.top_layer))
        return
    with prepared_tree(spec, base, _own_time(spec)) as source:
        if not spec.single_layer or not _has_store_paths(spec):
            yield source
            return
        with packed(source) as tar:
            yield tar


def _own_sources(spec: ImageSpec, top_layer: LayerSource) -> Sequence[LayerSource]:
    """Return the layers that are the image's own, but for the database's."""
    stores = _store_layers(spec)
    if not spec.single_layer or not stores:
        return (*stores, top_layer)
    if len(stores) > 1 or not isinstance(top_layer, TarLayer):
        raise SpecError(
            f"single_layer: store_layers has {len(stores)} layers, but they can't be more than one"
        )
    return (SingleLayer(top_layer, stores[0]),)


def _has_store_paths(spec: ImageSpec) -> bool:
    return any(spec.store_layers or [])


@contextmanager
def _nix_db_sources(spec: ImageSpec, base: BaseImage | None) -> Iterator[tuple[LayerSource, ...]]:
    if not spec.nix_db:
        yield ()
        return
    store, time = spec.store, _own_time(spec)
    registrations = _registered(spec, base)
    for warning in registrations.warnings:
        log.warning("%s", warning)
    with nix_db_layer(
        registrations.closure,
        meta=MemberMeta(time, store.uid, store.gid, store.uname, store.gname),
        registration_time=time,
        root=store.root,
        derivation_outputs=registrations.derivation_outputs,
    ) as layer:
        yield (layer,)


def _registered(spec: ImageSpec, base: BaseImage | None) -> Registrations:
    """Return just what the layers hold, as the database is to know it."""
    held = set(chain.from_iterable(spec.store_layers or []))
    stores = [] if base is None else [base.store(spec.store.directory)]
    for path in held:
        known = spec.store_paths.get(path)
        if known is None or known.references is None:
            raise SpecError(f"nix_db: the references of {path} are not known; give the closure")
    held.update(*(store.paths for store in stores))
    return merge_registrations(
        stores,
        Closure.of(
            PathInfo(
                path=StorePath(path),
                nar_size=known.nar_size,
                nar_hash=_nar_hash(known),
                references=tuple(map(StorePath, known.references)),
                deriver=known.deriver,
            )
            for path, known in spec.store_paths.items()
            if path in held and known.references is not None
        ),
    )


def _store_layers(spec: ImageSpec) -> list[StoreLayer]:
    store = spec.store
    meta = MemberMeta(parse_time(store.mtime), store.uid, store.gid, store.uname, store.gname)
    known = spec.store_paths
    rules = permission_rules(spec)
    return [
        StoreLayer(
            paths=tuple(map(StorePath, paths)),
            meta=meta,
            store_dir=store.directory,
            root=store.root,
            nar_hashes=tuple(_nar_hash(known.get(path)) for path in paths),
            nar_size=sum(known[path].nar_size for path in paths if path in known),
            perms=tuple(rule for rule in rules if any(map(rule.concerns, paths))),
        )
        for paths in spec.store_layers or []
    ]


def _nar_hash(known: StorePathSpec | None) -> Hash | None:
    return None if known is None or known.nar_hash is None else Hash.parse(known.nar_hash)
