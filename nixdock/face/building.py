"""Building images from specs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.build.build import prepared_build, prepared_top_layer
from nixdock.errors import InputError
from nixdock.face.build_attachments import Attaching, attacher
from nixdock.face.known_layers import Sources, known_to, packed_blobs, user_cache
from nixdock.face.several import several
from nixdock.layers.compression import Compression
from nixdock.layers.known import known_layers
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.layout import Format
from nixdock.rootfs.confinement import Confinement
from nixdock.write import image as image_writer

if TYPE_CHECKING:
    from nixdock.build.build import Build
    from nixdock.oci.image import Image
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.system.buffers import Write

__all__ = ["build_image", "image_digests", "pack_top_layer", "remember_layers", "stream_image"]


def build_image(  # noqa: PLR0913 (a keyword for each choice)
    spec: ImageSpec,
    target: str | os.PathLike[str],
    *,
    form: Format | str = "archive",
    compression: Compression | str | None = None,
    legacy: bool = False,
    attaching: Attaching | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
    access: Access | None = None,
) -> Image:
    """Build the image that `spec` describes as the file or directory `target`, and return it.

    `target` is replaced only by a complete image. `form` is archive, docker-archive, oci-archive or
    oci-layout. `compression` is a Compression or its text; it applies to each layer or, in
    a docker-archive, to the whole file. By default, layers are compressed with gzip, and a
    docker-archive is not compressed. `legacy` adds to a docker-archive the files that Docker
    needed before version 1.10. `attaching` says what is attached to the image, which a
    docker-archive can't have.

    `confinement` is required, so that scripts of the spec run only where the system allows a
    sandbox for them; preferred, which runs them with all rights of the caller elsewhere; or
    nix-build, for builders of derivations, which Nix confines.

    `progress` is told the layers' weights once the image is planned and its scripts have run, then
    how many bytes of each layer have been read, and which layers are packed.

    Raise InputError or one of its subclasses if the spec, the closure or the base image is not
    valid, ScriptError if a script of the spec fails or can't be confined, PackError if a file can't
    be packed, ImageError if the base image is damaged, RegistryError if a registry does not send
    it, ToolError if a program is missing, and OutputError if the target can't be written.
    """
    chosen = Format(form)
    if attaching and chosen is Format.DOCKER_ARCHIVE:
        raise InputError(
            "a docker-archive has no manifest to which anything could be attached; choose the"
            f" format {Format.ARCHIVE}, which Docker reads, too"
        )
    written = _compression(compression, chosen)
    attach = attacher(spec, attaching, access)
    with prepared_build(spec, Confinement(confinement), access) as build:
        if build.spec is not spec:
            # It has more store paths than could be known before.
            attach = attacher(build.spec, attaching, access)
        return image_writer.write_image(
            replace(build, attach=attach),
            Path(target),
            chosen,
            written,
            _started(progress, build),
            legacy=legacy,
        )


def image_digests(
    spec: ImageSpec,
    *,
    form: Format | str = "archive",
    compression: Compression | str | None = None,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
    access: Access | None = None,
    reuse: Iterable[str] = (),
    use_cache: bool = False,
) -> Image:
    """Return the image that `build_image` would build, without writing it.

    Layers are packed to compute their digests, except those that are known: from the images at the
    locations `reuse`, from the previous image that the spec names, and, with `use_cache`, from the
    user's cache, which learns what is packed. `progress` and `confinement` are as for
    `build_image`, and so are the errors, except OutputError.
    """
    sources = Sources.of(several(reuse, "reuse"), use_cache=use_cache)
    chosen = Format(form)
    each = image_writer.layer_compression(chosen, _compression(compression, chosen))
    with prepared_build(spec, Confinement(confinement), access) as build:
        known = known_layers(build.layers, each, known_to(sources, build, each, access).blobs)
        blobs = packed_blobs(sources, build, each, known, progress or NO_PROGRESS)
        return build.assemble(image_writer.blobs_in(chosen, build.layers, blobs))


def remember_layers(image: Image) -> None:
    """Let the user's cache of known layers learn those of an image that has been built.

    `push_image` and `image_digests` then know them without packing them. Within a Nix build, there
    is no cache, and nothing is done.
    """
    user_cache().add(image.layers)


def stream_image(
    spec: ImageSpec,
    write: Write,
    *,
    progress: Progress | None = None,
    confinement: Confinement | str = "required",
    access: Access | None = None,
) -> Image:
    """Pass the image that `spec` describes to `write` as an uncompressed docker-archive.

    `write` takes memoryviews and bytes. Layers are packed in order, bottom to top. Return the
    image. `progress`, `confinement` and the errors are those of `build_image`; errors of `write`
    are raised as they are.
    """
    with prepared_build(spec, Confinement(confinement), access) as build:
        return image_writer.stream_image(build, write, _started(progress, build))


def pack_top_layer(
    spec: ImageSpec,
    target: str | os.PathLike[str],
    *,
    confinement: Confinement | str = "required",
    access: Access | None = None,
) -> None:
    """Pack the top layer alone: the image's own files, from the spec's contents and scripts.

    `target` becomes a directory with the layer's tar and its checksum, which another spec may name
    as its `top_layer`. `confinement` is that of `build_image`. Raise what `build_image` raises.
    """
    from nixdock.rootfs.packed_layer import write_top_layer

    with prepared_top_layer(spec, Confinement(confinement), access) as layer:
        write_top_layer(layer, Path(target))


def _compression(asked: Compression | str | None, form: Format) -> Compression:
    """Return the compression of an image; raise InputError if it can't have the one asked for."""
    if asked is None:
        return image_writer.default_compression(form)
    chosen = Compression.of(asked)
    image_writer.layer_compression(form, chosen)
    return chosen


def _started(progress: Progress | None, build: Build) -> Progress:
    if progress is None:
        return NO_PROGRESS
    progress.start([layer.weight for layer in build.layers])
    return progress
