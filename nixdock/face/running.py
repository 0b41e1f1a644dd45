"""Serving images, and bringing them into container runtimes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nixdock.build.previous import may_continue, replaced_plan
from nixdock.errors import InputError
from nixdock.face.known_layers import user_cache
from nixdock.face.several import several
from nixdock.layers.compression import Compression
from nixdock.layers.known_cache import KnownCache
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.location import FileLocation, Location, parse_location
from nixdock.oci.platforms import wanted_platform
from nixdock.oci.reference import Reference
from nixdock.rootfs.confinement import Confinement
from nixdock.runtime.document_cache import DocumentCache
from nixdock.runtime.loading import Loaded, load_offer
from nixdock.runtime.offers import ServedBuild
from nixdock.runtime.replaced import keep_documents, replaced_config
from nixdock.runtime.runtimes import find_runtime
from nixdock.runtime.shelf import Shelf
from nixdock.spec.image_spec import ImageSpec
from nixdock.system.forked import CAN_FORK
from nixdock.system.scratch import temporary_directory

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.registry.access import Access
    from nixdock.runtime.catalogue import Offer
    from nixdock.runtime.listening import Listening
    from nixdock.runtime.runtime import Runtime
    from nixdock.runtime.serving import Serving

__all__ = ["load_image", "serve_images"]

_Source = ImageSpec | str | os.PathLike[str]


@contextmanager
def serve_images(
    sources: Iterable[_Source],
    *,
    listen: Listening | str | None = None,
    compression: Compression | str = Compression.GZIP,
    use_cache: bool = True,
    access: Access | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
) -> Iterator[Serving]:
    """Serve images to everything that pulls from a registry, until the block ends.

    A source is a spec, from which the image is built while it is served, or an image location, at
    which all images are served, or a directory of image files. The digests are those that
    `build_image` and `push_image` give with the same `compression`; layers that the cache of the
    user knows are packed only if somebody asks for them. The others are packed in the background:
    requests for an image wait until its digests are known, and `Serving.settle` waits for all of
    them. A process is forked for that, so the caller must not have other threads. `listen` is a
    `Listening` or an address, HOST:PORT or unix:PATH; by default, it is a free port that only this
    machine can reach. `confinement` is that of `build_image`.

    Raise what `build_image` raises for a spec, what `copy_image` raises for a location, and
    InputError if the address, or one of the files, can't be used.
    """
    from nixdock.runtime.listening import Listening
    from nixdock.runtime.serving import serving
    from nixdock.runtime.settling import settling

    if not isinstance(listen, Listening):
        listen = Listening() if listen is None else Listening(listen)
    place = listen.parsed(), listen.context(), listen.passwords()
    chosen, watching = Compression.of(compression), progress or NO_PROGRESS
    with ExitStack() as stack:
        shelf = _shelf(stack)
        offered = partial(
            _all_offered,
            stack=stack,
            shelf=shelf,
            compression=chosen,
            use_cache=use_cache,
            access=access,
            progress=watching,
            confinement=Confinement(confinement),
        )
        images = [image for source in several(sources, "sources") for image in offered(source)]
        if not images:
            raise InputError("there is no image to serve; name at least one")
        builds = [image for image in images if isinstance(image, ServedBuild)]
        # Before the server has threads.
        settles = stack.enter_context(settling(builds, watching)) if builds else None
        unsettled = iter(settles.offers if settles is not None else ())
        offers = [next(unsettled) if isinstance(each, ServedBuild) else each for each in images]
        server = stack.enter_context(serving(offers, *place, settles))
        # Nobody waits for layers that are being packed when the server ends.
        stack.callback(shelf.close)
        yield server


def load_image(  # noqa: PLR0913 (a keyword for each choice)
    source: _Source,
    *,
    into: str | None = None,
    names: Iterable[str] = (),
    platform: str | None = None,
    use_cache: bool = True,
    use_memory: bool = True,
    access: Access | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
) -> Loaded:
    """Bring an image into a container runtime, which gets only what it lacks.

    `into` is docker, podman, containerd, nerdctl, kind, minikube or k3s; by default, it is the one
    of the first two that answers. The runtime pulls the image from a registry that lives as long
    as this call, or gets a stream if it can't reach that, or if that is faster. `names`, each
    NAME:TAG, replace the image's own names. Of an image for several platforms at a location, it
    gets the one for `platform`, such as linux/arm64, or for its own machine. With `use_memory`, a
    spec with the strategy `stable` that names no previous image continues the plans of the images
    that have its names in the runtime, as far as their configs can be had: from the runtime, or
    from the cache, in which the manifests and configs of images are kept that were loaded. The
    other arguments are those of `serve_images`.

    Raise what `serve_images` raises, InputError if the image has no name or is not for that
    platform, and ToolError if there is no runtime or if it refuses the image.
    """
    chosen = wanted_platform(platform)
    if chosen is not None and isinstance(source, ImageSpec):
        raise InputError("a spec is for one platform, which it states itself")
    wanted = [Reference.parse(name) for name in several(names, "names")]
    runtime = find_runtime(into)
    documents = DocumentCache.of_user() if use_cache else DocumentCache(None)
    with ExitStack() as stack:
        shelf = _shelf(stack)
        if isinstance(source, ImageSpec):
            plans = _replaced_plans(source, runtime, wanted, documents) if use_memory else []
            build = _prepared(
                source,
                previous=plans,
                stack=stack,
                shelf=shelf,
                # The runtime unpacks layers at once: nothing is gained by packing them tighter.
                compression=Compression.NONE,
                use_cache=use_cache,
                access=access,
                confinement=Confinement(confinement),
            )
            offer = build.settled(progress or NO_PROGRESS)
        else:
            from nixdock.runtime.existing_offers import offer_location
            from nixdock.transfer.opening import Selection

            selection = Selection(chosen, default=runtime.platform)
            opened = offer_location(
                _location(source), shelf, selection, access=access, compress=False
            )
            offer = stack.enter_context(opened)
        # Nobody waits for layers that are being packed when the load is interrupted.
        stack.callback(shelf.close)
        wanted = wanted or _own_names(offer, source)
        loaded = load_offer(offer, runtime, wanted)
        keep_documents(offer, runtime, documents)
        return loaded


def _replaced_plans(
    spec: ImageSpec, runtime: Runtime, names: Sequence[Reference], documents: DocumentCache
) -> list[PreviousPlan]:
    """Return the plans of the images that a load replaces, each once."""
    if not may_continue(spec):
        return []
    plans: dict[PreviousPlan, None] = {}
    for name in names or spec.references:
        config = replaced_config(runtime, name, spec.platform, documents)
        if config is not None and (plan := replaced_plan(config, f"{runtime.name}: {name}")):
            plans[plan] = None
    return [*plans]


def _shelf(stack: ExitStack) -> Shelf:
    """Return an empty shelf, whose directory is removed when the stack is closed."""
    return Shelf.within(stack.enter_context(temporary_directory()))


def _all_offered(
    source: _Source,
    *,
    stack: ExitStack,
    shelf: Shelf,
    access: Access | None,
    progress: Progress,
    **options: Any,
) -> Sequence[Offer | ServedBuild]:
    """Return all images of a source; one that is being built may not be settled."""
    if isinstance(source, ImageSpec):
        build = _prepared(source, stack=stack, shelf=shelf, access=access, **options)
        return [build.settled(progress) if build.is_settled or not CAN_FORK else build]
    from nixdock.runtime.existing_offers import offer_all

    return offer_all(_location(source), shelf, stack, access)


def _prepared(
    spec: ImageSpec,
    *,
    stack: ExitStack,
    shelf: Shelf,
    compression: Compression,
    use_cache: bool,
    access: Access | None,
    confinement: Confinement,
    previous: Sequence[PreviousPlan] = (),
) -> ServedBuild:
    from nixdock.build.build import prepared_build

    build = stack.enter_context(prepared_build(spec, confinement, access, previous=previous))
    cache = user_cache() if use_cache else KnownCache(None)
    return ServedBuild(build, shelf, compression, cache)


def _location(source: str | os.PathLike[str]) -> Location:
    return parse_location(source) if isinstance(source, str) else FileLocation(Path(source))


def _own_names(offer: Offer, source: _Source) -> list[Reference]:
    # A layout may name an image by its tag alone, and a registry by its digest.
    names = [Reference.parse(name) for name in offer.names if ":" in name and "@" not in name]
    if not names:
        what = "the image" if isinstance(source, ImageSpec) else os.fspath(source)
        raise InputError(f"{what} has no name that a runtime takes; give it one, as NAME:TAG")
    return names
