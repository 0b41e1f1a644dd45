"""Pushing images to registries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.build.build import prepared_build
from nixdock.build.previous import may_continue, previous_images, replaced_plan
from nixdock.errors import InputError
from nixdock.face.build_attachments import Attaching, attacher
from nixdock.face.known_layers import Sources
from nixdock.face.several import several
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.registry.access import Access
from nixdock.rootfs.confinement import Confinement
from nixdock.spec.image_spec import ImageSpec
from nixdock.transfer.known import Known
from nixdock.transfer.push import Pushing, push_build
from nixdock.transfer.pushed import PushedImage
from nixdock.transfer.targets import Registries, add_base, target_reference

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.transfer.push_target import PushTarget

__all__ = ["push_image", "push_spec"]


def push_image(
    source: ImageSpec | str | os.PathLike[str],
    destinations: Iterable[str],
    options: Pushing | None = None,
    *,
    reuse: Iterable[str] = (),
    attaching: Attaching | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
) -> PushedImage:
    """Push the image that a spec describes, or one that exists; return what was done.

    `source` is a spec, from which the image is built on its way, or an image location. A
    destination is a reference, HOST/REPOSITORY[:TAG], with or without docker://. Layers that an
    image at a destination has already are taken over without reading a file, and so are those of
    the locations `reuse`, which may be in other repositories or in files, those of the previous
    image that the spec names, and those that a cache of the user knows. A spec with the strategy
    `stable` that names no previous image continues the plans of the images that are replaced.
    `options` can limit that, or send nothing at all. `attaching` and `confinement` are those of
    `build_image`.

    Blobs are sent first, then config and manifest, then attachments, and tags last, so that a tag
    is always that of a whole image. Raise what `build_image` raises, and RegistryError if a
    registry can't be reached or refuses a request.
    """
    references = [target_reference(text) for text in several(destinations, "destinations")]
    if not references:
        raise InputError("there is no destination; name at least one, as HOST/REPOSITORY:TAG")
    pushing, reused = options or Pushing(), several(reuse, "reuse")
    if not isinstance(source, ImageSpec):
        if attaching:
            raise InputError(
                "what is attached on a push is about an image that is being built; attach the bill"
                " of materials of an image that exists with `nixdock attach`"
            )
        return _push_existing(os.fspath(source), references, pushing, access, progress)
    if pushing.platform is not None or pushing.all_platforms:
        raise InputError("a spec is for one platform, which it states itself")
    return push_spec(
        *(source, references, pushing, reused, access, progress, Confinement(confinement)),
        attaching,
    )


def push_spec(
    spec: ImageSpec,
    references: Sequence[RegistryReference],
    pushing: Pushing,
    reuse: Iterable[str],
    access: Access | None,
    progress: Progress | None,
    confinement: Confinement,
    attaching: Attaching | None = None,
) -> PushedImage:
    """Push the image of a spec as `push_image` does, which has checked the arguments."""
    attach = attacher(spec, attaching, access)
    sources = Sources.of(reuse, use_cache=pushing.use_cache)
    registries = Registries(access or Access(), spec.platform)
    known = Known()
    targets = registries.targets(references, [*sources.images, *previous_images(spec)], known)
    memories = _memories(targets) if pushing.use_memory and may_continue(spec) else []
    if not pushing.tags:
        targets = [replace(target, tags=()) for target in targets]
    with prepared_build(spec, confinement, access, previous=memories) as build:
        if build.spec is not spec:
            # It has more store paths than could be known before.
            attach = attacher(build.spec, attaching, access)
        if spec.from_image is not None:
            add_base(known, spec.from_image.path, build.layers)
        known.add_cached(build.layers, pushing.compression, sources.cache)
        if progress is not None:
            progress.start([layer.weight for layer in build.layers])
        result = push_build(
            replace(build, attach=attach),
            targets,
            known,
            pushing,
            cache=sources.cache,
            progress=progress or NO_PROGRESS,
        )
    return replace(result, requests=registries.requests)


def _memories(targets: Iterable[PushTarget]) -> list[PreviousPlan]:
    """Return the plans of the images that a push replaces, each once."""
    replaced = {seen.manifest: seen for target in targets for seen in target.replaced}
    plans = [
        replaced_plan(seen.config, str(seen.repository.reference(seen.name)))
        for seen in replaced.values()
    ]
    return [plan for plan in plans if plan is not None]


def _push_existing(
    source: str,
    references: Sequence[RegistryReference],
    pushing: Pushing,
    access: Access | None,
    progress: Progress | None,
) -> PushedImage:
    # What is built needs nothing of these, nor of what they load.
    from nixdock.face.transfers import copy_image
    from nixdock.transfer.pushed_copies import pushed_copies

    if pushing.dry_run or pushing.verify_known:
        raise InputError("a dry run, and the verification of known layers, are for specs only")
    copies = [
        copy_image(
            source,
            f"docker://{each}",
            platform=pushing.platform,
            all_platforms=pushing.all_platforms,
            access=access,
            progress=progress,
        )
        for each in references
    ]
    return pushed_copies(copies)
