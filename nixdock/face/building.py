"""Building images from specs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.build.build import prepared_build, prepared_top_layer
from nixdock.layers.compressors import Compression
from nixdock.layers.pack import ignore_layer, pack_all
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import Format
from nixdock.rootfs.top_layer import write_top_layer
from nixdock.write import image as image_writer

if TYPE_CHECKING:
    from nixdock.layers.pack import OnLayer
    from nixdock.oci.image import Image
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.system.buffers import Write

__all__ = ["build_image", "image_digests", "pack_top_layer", "stream_image"]

Progress = Callable[[int], Callable[[int, LayerBlob], object]]
"""Takes the number of layers and returns what takes the index and blob of each packed layer."""


def build_image(
    spec: ImageSpec,
    target: str | os.PathLike[str],
    *,
    form: Format | str = "archive",
    compression: Compression | str | None = None,
    legacy: bool = False,
    progress: Progress | None = None,
) -> Image:
    """Build the image that `spec` describes as the file or directory `target`, and return it.

    `target` is replaced only by a complete image. `form` is archive, docker-archive, oci-archive or
    oci-layout. `compression` is none, gzip or zstd; it applies to each layer or, in a
    docker-archive, to the whole file. By default, layers are compressed with gzip, and a
    docker-archive is not compressed. `legacy` adds to a docker-archive the files that Docker
    needed before version 1.10.

    `progress` is called with the number of layers once that is known. It returns a function, which
    is called with the index, from 0, and the LayerBlob of each layer once that layer is packed;
    layers may be packed in any order.

    Raise InputError or one of its subclasses if the spec, the closure or the base image is not
    valid, ScriptError if a script of the spec fails, PackError if a file can't be packed,
    ImageError if the base image is damaged, ToolError if a program is missing, and OutputError if
    the target can't be written.
    """
    chosen = Format(form)
    with prepared_build(spec) as build:
        return image_writer.write_image(
            build,
            Path(target),
            chosen,
            _compression(compression, chosen),
            _on_layer(progress, len(build.layers)),
            legacy=legacy,
        )


def image_digests(
    spec: ImageSpec,
    *,
    form: Format | str = "archive",
    compression: Compression | str | None = None,
    progress: Progress | None = None,
) -> Image:
    """Return the image that `build_image` would build, without writing it.

    Every layer is packed to compute its digest. `progress` is as for `build_image`, and so are the
    errors, except OutputError.
    """
    with prepared_build(spec) as build:
        on_layer = _on_layer(progress, len(build.layers))
        chosen = _compression(compression, Format(form))
        blobs = pack_all(build.layers, None, chosen, on_layer=on_layer)
        return build.assemble(blobs)


def stream_image(spec: ImageSpec, write: Write, *, progress: Progress | None = None) -> Image:
    """Pass the image that `spec` describes to `write` as an uncompressed docker-archive.

    `write` takes memoryviews and bytes. Layers are packed in order, bottom to top. Return the
    image. `progress` and the errors are those of `build_image`; errors of `write` are raised as
    they are.
    """
    with prepared_build(spec) as build:
        return image_writer.stream_image(build, write, _on_layer(progress, len(build.layers)))


def pack_top_layer(spec: ImageSpec, target: str | os.PathLike[str]) -> None:
    """Pack the top layer alone: the image's own files, from the spec's contents and scripts.

    `target` becomes a directory with the layer's tar and its checksum, which another spec may name
    as its `top_layer`. Raise what `build_image` raises.
    """
    with prepared_top_layer(spec) as layer:
        write_top_layer(layer, Path(target))


def _compression(asked: Compression | str | None, form: Format) -> Compression:
    return image_writer.default_compression(form) if asked is None else Compression(asked)


def _on_layer(progress: Progress | None, layers: int) -> OnLayer:
    return ignore_layer if progress is None else progress(layers)
