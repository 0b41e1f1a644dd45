"""Preparing the layers of an image from its spec, and describing the image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from nixdock.build.annotations import annotations_of
from nixdock.build.memory import memory_of
from nixdock.build.missing_files import missing_contents, missing_program, missing_users
from nixdock.build.own_files import (
    OwnFiles,
    creation_time,
    own_files,
    top_layer,
    written_database,
)
from nixdock.build.previous import previous_images
from nixdock.build.resolve import Resolution, resolve_on_base
from nixdock.build.sources import nar_hashes_of, store_of
from nixdock.build.store_layers import directories_of, layers_of_store
from nixdock.errors import PlanError
from nixdock.layers.layer import Layer, ListedLayer
from nixdock.oci.container_config import ContainerConfig, container_config
from nixdock.oci.digests import chain_ids
from nixdock.oci.image import Annotations, HistoryEntry, Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import parse_location
from nixdock.oci.reference import Reference
from nixdock.rootfs.confinement import Confinement
from nixdock.spec.config_checks import checked_config, undefined_keys, with_labels
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.problem import below_key
from nixdock.spec.times import parse_time, rfc3339
from nixdock.system.text import listed

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.layers.store import StoreLayer
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location
    from nixdock.registry.access import Access
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.stores.store import Store

__all__ = ["Build", "prepared_build", "prepared_top_layer", "resolve_spec"]

log = logging.getLogger(__name__)

_MOST_NAMED: Final = 5


class Build(Struct, frozen=True):
    """A prepared image: its layers, bottom to top, and its description.

    `mtime` is the time, in seconds, of the files that the build itself creates; `base_history` is
    the history of the base image's layers. `memory_of` returns what the image is to remember, given
    the chain ID of its layers. `previous` are the images whose plans this one continues. `attach`
    returns an image with its attachments, which can only be made when its digest is known. `spec`
    is the spec that was given, with the store paths as roots that the results of scripts add to its
    closure, and `script_paths` are those that they may add, if they have not run.
    """

    spec: ImageSpec
    layers: tuple[Layer, ...]
    references: tuple[Reference, ...]
    platform: Platform
    container: Mapping[str, Any]
    created: str
    mtime: int
    base_history: tuple[HistoryEntry, ...] = ()
    memory_of: Callable[[str], Mapping[str, Any] | None] | None = None
    annotations: Annotations | None = None
    previous: Sequence[Location] = ()
    attach: Callable[[Image], Image] | None = None
    script_paths: Sequence[StorePath] = ()

    def assemble(self, blobs: Sequence[LayerBlob]) -> Image:
        """Describe the packed layers as an image."""
        memory = None
        if self.memory_of is not None:
            *_, chain_id = chain_ids(blob.diff_id for blob in blobs)
            memory = self.memory_of(chain_id)
        image = Image.of(
            blobs,
            references=self.references,
            platform=self.platform,
            container=self.container,
            created=self.created,
            base_history=self.base_history,
            memory=memory,
            annotations=self.annotations,
        )
        return image if self.attach is None else self.attach(image)


def resolve_spec(spec: ImageSpec, access: Access | None = None) -> Resolution:
    """Return the resolved spec, and its plan.

    Raise InputError if the closure or the base image is missing or not valid, ImageError if the
    base image is damaged, RegistryError if a registry does not send one, and PlanError if no plan
    fits.
    """
    with ExitStack() as stack:
        base, source = _open_base(spec, access, stack), store_of(spec, access)
        resolution = resolve_on_base(spec, base, source, access)
        if spec.has_scripts:
            from nixdock.build.script_results import possible_results  # noqa: PLC0415 (few images)

            if paths := possible_results(spec, resolution.spec, base, source):
                log.info(
                    "the resolved spec lacks store paths to which the results of its scripts may"
                    " refer; make them roots of the closure, if the image needs them: %s",
                    listed(paths, _MOST_NAMED),
                )
        return resolution


@contextmanager
def prepared_build(
    spec: ImageSpec,
    confinement: Confinement = Confinement.REQUIRED,
    access: Access | None = None,
    *,
    outline: bool = False,
    previous: Sequence[PreviousPlan] = (),
) -> Iterator[Build]:
    """Prepare the image of `spec`, which may be resolved; pack its layers within the block.

    Scripts are confined as `confinement` says. With `outline`, neither do they run nor is any file
    of the image read: layers of its own files can't be packed then. `previous` are the plans to
    continue, the newest first, if the spec names none.

    Raise what `resolve_spec` raises, ScriptError if a script fails, and PackError if the files of
    the top layer can't be prepared.
    """
    with ExitStack() as stack:
        base = _open_base(spec, access, stack)
        images = previous_images(spec)
        everything = store_of(spec, access)
        unresolved, spec = spec, resolve_on_base(spec, base, everything, access, previous).spec
        source = everything.promising(nar_hashes_of(spec))
        config, undefined = checked_config(spec.config)
        config = with_labels(config, spec.labels)
        for key in undefined_keys(undefined):
            log.warning("config.%s is passed on, but no image specification defines it", key)
        mtime = creation_time(spec)
        created = mtime if spec.created is None else parse_time(spec.created)
        own = None if outline else own_files(spec, base, source, stack, confinement)
        script_paths: Sequence[StorePath] = ()
        if spec.has_scripts:
            from nixdock.build import script_results  # noqa: PLC0415 (few images)

            if own is None:
                script_paths = script_results.possible_results(unresolved, spec, base, everything)
            elif more := script_results.with_results(unresolved, spec, base, own.top, everything):
                unresolved = more
                spec = resolve_on_base(more, base, everything, access, previous).spec
                source = everything.promising(nar_hashes_of(spec))
        layers: list[Layer] = [] if base is None else [*base.passed_on_layers()]
        container = _inherited(spec, config, base)
        if own is None:
            from nixdock.build.outline import outlined_layers  # noqa: PLC0415 (only for plans)

            layers += outlined_layers(spec, source)
        else:
            layers += _new_layers(spec, container, base, stack, own, source)
        if len(layers) > MOST_LAYERS:
            base_count = 0 if base is None else len(base.layers)
            raise PlanError(
                f"the image would have {len(layers)} layers, {base_count} of them from its base"
                f" image, but Docker takes at most {MOST_LAYERS}; lower max_layers",
                key="max_layers",
            )
        yield Build(
            spec=unresolved,
            layers=tuple(layers),
            references=spec.references,
            platform=spec.platform,
            container=container_config(container, undefined),
            created=rfc3339(created),
            mtime=mtime,
            base_history=() if base is None else base.history,
            memory_of=memory_of(spec),
            annotations=annotations_of(spec, base, created),
            previous=images,
            script_paths=script_paths,
        )


@contextmanager
def prepared_top_layer(
    spec: ImageSpec,
    confinement: Confinement = Confinement.REQUIRED,
    access: Access | None = None,
) -> Iterator[Layer]:
    """Prepare the top layer of `spec` alone; pack it within the block."""
    with ExitStack() as stack:
        base = _open_base(spec, access, stack)
        source = store_of(spec, access)
        database = None
        if spec.nix_db and spec.has_scripts:
            database = written_database(spec, base, source, stack)
        source = source.promising(nar_hashes_of(spec))
        yield top_layer(spec, base, source, database, stack, confinement)


def _open_base(spec: ImageSpec, access: Access | None, stack: ExitStack) -> BaseImage | None:
    """Open the base image, if the spec has one; closing the stack closes it."""
    if spec.from_image is None:
        return None
    from nixdock.rootfs.base_image import open_base_image  # noqa: PLC0415 (few images have one)

    location = parse_location(spec.from_image.path)
    name, tag = spec.from_image.name, spec.from_image.tag
    with below_key("from_image.path"):
        return stack.enter_context(open_base_image(location, name, tag, spec.platform, access))


def _inherited(spec: ImageSpec, config: ContainerConfig, base: BaseImage | None) -> ContainerConfig:
    if base is None:
        return config
    from nixdock.rootfs.base_image import inherit  # noqa: PLC0415 (the same)

    return inherit(base.container, config, everything=spec.inherit_config == "all")


def _new_layers(
    spec: ImageSpec,
    container: ContainerConfig,
    base: BaseImage | None,
    stack: ExitStack,
    own: OwnFiles,
    source: Store,
) -> Sequence[Layer]:
    """Return the layers of the store paths, the top layer and, if need be, the database's layer.

    The first two are a single layer if the spec says so.
    """
    top = own.top
    own_layers: list[ListedLayer] = [top]
    if spec.nix_db:
        mtime = creation_time(spec)
        database = own.database
        if database is None or own.spec is not spec:
            database = written_database(spec, base, source, stack)
        if (layer := database.layer(spec, top, mtime, own.database)) is not None:
            own_layers.append(layer)
    if spec.perms:
        from nixdock.build.permission_check import check_permissions  # noqa: PLC0415 (the same)

        check_permissions(spec, own_layers, base, source)
    for warning in missing_contents(spec, base):
        log.warning("%s", warning)
    if problem := missing_program(spec, container, own_layers, base, source):
        log.warning("%s", problem)
    for warning in missing_users(container, own_layers, base):
        log.warning("%s", warning)
    above = directories_of(own_layers) if spec.perms else frozenset()
    store_layers = layers_of_store(spec, source, above)
    return (*_with_store_layers(spec, top, store_layers, stack), *own_layers[1:])


def _with_store_layers(
    spec: ImageSpec, top: ListedLayer, store_layers: Sequence[StoreLayer], stack: ExitStack
) -> tuple[Layer, ...]:
    if not spec.single_layer or not store_layers:
        return (*store_layers, top)
    from nixdock.layers.single import SingleLayer  # noqa: PLC0415 (few images have one)
    from nixdock.rootfs.packed_layer import (  # noqa: PLC0415 (the same)
        pack_to_temporary_tar,
        read_top_layer,
    )

    if spec.top_layer is not None:
        return (SingleLayer(read_top_layer(Path(spec.top_layer)), store_layers[0]),)
    return (SingleLayer(pack_to_temporary_tar(top, stack), store_layers[0]),)
