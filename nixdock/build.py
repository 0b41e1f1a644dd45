"""From a spec to layer sources and to the image: the line that all commands walk."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from nixdock.closure import Closure, PathInfo, parse_closure
from nixdock.container_config import container_config
from nixdock.errors import InputError, PlanError, SpecError
from nixdock.image import Image, Platform
from nixdock.layer import Layer, LayerSource, StoreLayer
from nixdock.layering import plan_by_popularity, store_layer_budget
from nixdock.layering.plan import LayerPlan
from nixdock.nixdb import nix_db_layer
from nixdock.reference import Reference
from nixdock.spec import ImageSpec, StorePathSpec, checked_config, parse_spec
from nixdock.store_path import Hash, StorePath
from nixdock.stream_conf import is_stream_conf, parse_stream_conf
from nixdock.tar_header import MemberMeta
from nixdock.time import parse_time, rfc3339, source_date_epoch
from nixdock.top_layer import prepared_tree, read_top_layer

__all__ = ["Build", "prepared_build", "read_bytes", "read_spec", "resolve", "top_layer_source"]

_MOST_LAYERS: Final = 125

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Build:
    """All that an image is made from: layer sources, bottom to top, and its description."""

    sources: tuple[LayerSource, ...]
    reference: Reference
    platform: Platform
    container: Mapping[str, Any]
    created: str
    mtime: int

    def assemble(self, layers: Sequence[Layer]) -> Image:
        """Describe the packed layers as an image."""
        return Image.of(
            layers,
            reference=self.reference,
            platform=self.platform,
            container=self.container,
            created=self.created,
        )


def read_bytes(file: Path, what: str) -> bytes:
    """Read a whole input file, or standard input for `-`; raise InputError."""
    try:
        return Path("/dev/stdin" if str(file) == "-" else file).read_bytes()
    except OSError as error:
        raise InputError(f"can't read {what} {file}: {error.strerror}") from None


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
    if spec.closure is not None:
        graph = str(file.parent / spec.closure.graph)
        spec = msgspec.structs.replace(
            spec, closure=msgspec.structs.replace(spec.closure, graph=graph)
        )
    return spec


def resolve(spec: ImageSpec) -> ImageSpec:
    """Return the spec with its plan made and its time settled.

    So that neither the graph nor SOURCE_DATE_EPOCH is needed any more.
    """
    if spec.source_date_epoch is None:
        spec = msgspec.structs.replace(spec, source_date_epoch=source_date_epoch())
    if spec.closure is None:
        return spec
    closure = _closure_of(spec)
    plan = LayerPlan(())
    if len(closure):
        top_layers = 2 if spec.nix_db else 1
        budget = store_layer_budget(spec.max_layers, top_layers=top_layers)
        plan = plan_by_popularity(closure, budget)
    return msgspec.structs.replace(
        spec,
        closure=None,
        store_layers=[[str(path) for path in layer.paths] for layer in plan.layers],
        store_paths={str(info.path): _known(info, with_references=spec.nix_db) for info in closure},
    )


def _known(info: PathInfo, *, with_references: bool) -> StorePathSpec:
    return StorePathSpec(
        nar_size=info.nar_size,
        nar_hash=str(info.nar_hash) if info.nar_hash else None,
        references=[str(path) for path in info.references] if with_references else None,
        deriver=info.deriver if with_references else None,
    )


@contextmanager
def prepared_build(spec: ImageSpec) -> Iterator[Build]:
    """Give the build that `spec` describes; its own layers' trees last as long as the block."""
    spec = resolve(spec)
    typed, unknown = checked_config(spec.config, "the spec")
    for key in unknown:
        log.warning("config.%s is left out: no image specification defines it", key)
    with top_layer_source(spec) as top_layer, _nix_db_sources(spec) as nix_db:
        sources = (*_store_layers(spec), top_layer, *nix_db)
        if len(sources) > _MOST_LAYERS:
            raise PlanError(
                f"the image would have {len(sources)} layers, but Docker takes {_MOST_LAYERS} at"
                " most; lower max_layers"
            )
        yield Build(
            sources=sources,
            reference=spec.reference,
            platform=Platform(spec.architecture, "linux", spec.variant),
            container=container_config(typed),
            created=rfc3339(_own_time(spec) if spec.created is None else parse_time(spec.created)),
            mtime=_own_time(spec),
        )


def _own_time(spec: ImageSpec) -> int:
    """Return the time of what the build itself makes."""
    return source_date_epoch() if spec.source_date_epoch is None else spec.source_date_epoch


@contextmanager
def top_layer_source(spec: ImageSpec) -> Iterator[LayerSource]:
    """Give the source of the spec's top layer."""
    if spec.top_layer is not None:
        yield read_top_layer(Path(spec.top_layer))
        return
    meta = MemberMeta(mtime=_own_time(spec))
    with prepared_tree(spec.contents, spec.extra_commands, meta, spec.store.root) as source:
        yield source


@contextmanager
def _nix_db_sources(spec: ImageSpec) -> Iterator[tuple[LayerSource, ...]]:
    if not spec.nix_db:
        yield ()
        return
    store, time = spec.store, _own_time(spec)
    with nix_db_layer(
        _registered(spec),
        meta=MemberMeta(time, store.uid, store.gid, store.uname, store.gname),
        registration_time=time,
        root=store.root,
    ) as layer:
        yield (layer,)


def _registered(spec: ImageSpec) -> Closure:
    """Return just what the store layers hold, as the database is to know it."""
    infos = []
    for path in chain.from_iterable(spec.store_layers or []):
        known = spec.store_paths.get(path)
        if known is None or known.references is None:
            raise SpecError(f"nix_db: the references of {path} are not known; give the closure")
        infos.append(
            PathInfo(
                path=StorePath(path),
                nar_size=known.nar_size,
                nar_hash=_nar_hash(known),
                references=tuple(map(StorePath, known.references)),
                deriver=known.deriver,
            )
        )
    return Closure.of(infos)


def _store_layers(spec: ImageSpec) -> list[StoreLayer]:
    store = spec.store
    meta = MemberMeta(parse_time(store.mtime), store.uid, store.gid, store.uname, store.gname)
    known = spec.store_paths
    return [
        StoreLayer(
            paths=tuple(map(StorePath, paths)),
            meta=meta,
            store_dir=store.directory,
            root=store.root,
            nar_hashes=tuple(_nar_hash(known.get(path)) for path in paths),
            nar_size=sum(known[path].nar_size for path in paths if path in known),
        )
        for paths in spec.store_layers or []
    ]


def _nar_hash(known: StorePathSpec | None) -> Hash | None:
    return None if known is None or known.nar_hash is None else Hash.parse(known.nar_hash)


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
