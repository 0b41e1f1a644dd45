"""Reports on images that have not been written, like those on images that have been."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from nixdock.build.build import Build
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import media_type_of
from nixdock.layers.layer import Layer
from nixdock.oci.layer_blob import LayerBlob
from nixdock.read.contents import store_paths_among
from nixdock.read.report import ImageReport, LayerReport, of_one_store
from nixdock.system.cores import available_cores
from nixdock.system.parallel import map_in_threads

__all__ = ["inspect_build", "outline_build"]


def inspect_build(build: Build, blobs: Mapping[int, LayerBlob]) -> ImageReport:
    """Return the report on an image with these blobs, by the numbers of its layers: all of them.

    Existing layers are read, and verified, to list their store paths; of new ones, no file is.
    """
    found = map_in_threads(
        lambda layer: store_paths_among(layer.names()), build.layers, available_cores()
    )
    paths = of_one_store(found)
    return _report(
        build,
        blobs,
        tuple(
            _described(layer, blobs[i], store_paths=paths[i], read=True)
            for i, layer in enumerate(build.layers)
        ),
    )


def outline_build(
    build: Build, blobs: Mapping[int, LayerBlob], compression: Compression
) -> ImageReport:
    """Return the report on an image of which only these blobs are known; nothing is read.

    Digests that depend on others are left empty. New layers are compressed with `compression`.
    """
    unknown = LayerReport(
        digest="",
        diff_id="",
        size=None,
        media_type=media_type_of(compression),
        created_by="",
        comment="",
        store_paths=(),
        read=False,
    )
    return _report(
        build,
        blobs,
        tuple(
            _described(layer, blobs[i])
            if i in blobs
            else replace(
                unknown,
                diff_id=(layer.diff_id if compression.keeps_tar else None) or "",
                created_by=layer.history.created_by,
                comment=layer.history.comment,
            )
            for i, layer in enumerate(build.layers)
        ),
    )


def _described(
    layer: Layer, blob: LayerBlob, store_paths: tuple[str, ...] = (), *, read: bool = False
) -> LayerReport:
    return LayerReport(
        digest=blob.digest,
        diff_id=blob.diff_id,
        size=blob.size,
        media_type=blob.media_type,
        created_by=layer.history.created_by,
        comment=layer.history.comment,
        store_paths=store_paths,
        read=read,
    )


def _report(
    build: Build, blobs: Mapping[int, LayerBlob], layers: tuple[LayerReport, ...]
) -> ImageReport:
    is_known = len(blobs) == len(build.layers)
    image = build.assemble([blobs[i] for i in range(len(blobs))]) if is_known else None
    platform = build.platform
    return ImageReport(
        tags=tuple(map(str, build.references)),
        digest=None if image is None else image.manifest.digest,
        config_digest=None if image is None else image.config.digest,
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        created=build.created,
        config=build.container,
        annotations={} if build.annotations is None else build.annotations.manifest,
        layers=layers,
        script_paths=tuple(map(str, build.script_paths)),
        config_size=None if image is None else len(image.config.data),
        manifest_size=None if image is None else len(image.manifest.data),
    )
