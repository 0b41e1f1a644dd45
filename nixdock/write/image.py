"""Write an image in any format."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nixdock.layers.compression import Compression
from nixdock.layers.compressors import check_for_files, compressor
from nixdock.layers.layer import Layer
from nixdock.layers.pack import pack_all
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import Format
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background
from nixdock.system.buffers import Write
from nixdock.system.cores import available_cores
from nixdock.system.scratch import temporary_directory
from nixdock.write.archive import write_archive
from nixdock.write.buildable import Buildable
from nixdock.write.docker_archive import blob_in_docker_archive, write_docker_archive
from nixdock.write.legacy_archive import write_legacy_archive
from nixdock.write.oci_layout import write_oci_layout

__all__ = [
    "blobs_in",
    "default_compression",
    "layer_compression",
    "stream_image",
    "write_image",
]


def default_compression(form: Format) -> Compression:
    """Return the compression to use if none is asked for.

    Layers are compressed wherever the format allows it, so that the digest of the manifest is the
    one that a registry serves: registries get no uncompressed layers from the usual tools. The
    readers of docker-archives disagree on compressed archives, so these are not compressed.
    """
    return Compression.NONE if form is Format.DOCKER_ARCHIVE else Compression.GZIP


def layer_compression(form: Format, compression: Compression) -> Compression:
    """Return how each layer is compressed in an image for which `compression` is asked for.

    Raise InputError if an image in that form can't have it.
    """
    if form is not Format.DOCKER_ARCHIVE:
        return compression
    check_for_files(compression)
    return Compression.NONE


def blobs_in(
    form: Format, layers: Sequence[Layer], packed: Sequence[LayerBlob]
) -> Sequence[LayerBlob]:
    """Return the blobs that an image in that form has, given `packed`, those of its layers."""
    if form is not Format.DOCKER_ARCHIVE:
        return packed
    return [*map(blob_in_docker_archive, layers, packed)]


def write_image(
    build: Buildable,
    target: Path,
    form: Format,
    compression: Compression,
    progress: Progress = NO_PROGRESS,
    *,
    legacy: bool = False,
) -> Image:
    """Write the image to `target`, completely or not at all, and return it.

    Each layer is compressed on its own, except in a docker-archive: it is compressed as a whole,
    because its readers disagree on compressed layers. With `legacy`, a docker-archive also has the
    files that Docker needed before version 1.10. Raise what `Layer.pack` raises, and OutputError
    if `target` can't be written.
    """
    if form is Format.DOCKER_ARCHIVE:
        with ExitStack() as stack:
            file = stack.enter_context(whole_file(target))
            directory = stack.enter_context(temporary_directory(target)) if legacy else None
            return _write_docker_archive(build, file.write, compression, progress, directory)

    def pack_into(directory: Path) -> list[LayerBlob]:
        return pack_all(build.layers, directory, compression, progress=progress)

    if form is Format.OCI_LAYOUT:
        return write_oci_layout(target, pack_into, build.assemble)
    docker = form is Format.ARCHIVE
    return write_archive(target, pack_into, build.assemble, docker=docker, mtime=build.mtime)


def stream_image(build: Buildable, write: Write, progress: Progress = NO_PROGRESS) -> Image:
    """Pass an uncompressed docker-archive to `write` and return the image."""
    return _write_docker_archive(build, write, Compression.NONE, progress)


def _write_docker_archive(
    build: Buildable,
    write: Write,
    compression: Compression,
    progress: Progress,
    legacy_directory: Path | None = None,
) -> Image:
    with (
        in_background(write) as write_later,
        compressor(compression, write_later, available_cores()) as stream,
    ):
        out, layers, assemble, mtime = stream.write, build.layers, build.assemble, build.mtime
        if legacy_directory is None:
            image = write_docker_archive(out, layers, assemble, mtime=mtime, progress=progress)
        else:
            image = write_legacy_archive(
                out, layers, legacy_directory, assemble, mtime=mtime, progress=progress
            )
    return image
