"""Writing an image in any form, from its layer sources."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from nixdock.atomic import temporary_directory, whole_file
from nixdock.background import in_background
from nixdock.compression import Compression, compressor
from nixdock.digest import Write
from nixdock.image import Image
from nixdock.layer import BlobLayer, Layer, Source
from nixdock.output.archive import write_archive
from nixdock.output.docker_archive import write_docker_archive
from nixdock.output.legacy_archive import write_legacy_archive
from nixdock.output.oci_layout import write_oci_layout
from nixdock.pack import OnLayer, available_cores, pack_all

__all__ = ["Buildable", "Format", "stream_image", "write_image"]


class Format(StrEnum):
    """The forms in which an image can be written."""

    ARCHIVE = "archive"
    DOCKER_ARCHIVE = "docker-archive"
    OCI_ARCHIVE = "oci-archive"
    OCI_LAYOUT = "oci-layout"


class Buildable(Protocol):
    """What there is to know about an image before its layers are packed."""

    @property
    def sources(self) -> Sequence[Source]:
        """What the layers are packed from, bottom to top."""

    @property
    def mtime(self) -> int:
        """The time, in seconds, of what the build itself creates."""

    def assemble(self, layers: Sequence[Layer]) -> Image:
        """Describe the packed layers as an image."""


def write_image(
    build: Buildable,
    target: Path,
    form: Format,
    compression: Compression,
    on_layer: OnLayer = lambda _index, _layer: None,
    *,
    legacy: bool = False,
) -> Image:
    """Write the image as `target`, whole or not at all, and return it.

    Layers are compressed one by one, but a docker-archive, whose readers don't agree on
    compressed layers, is compressed as a whole; with `legacy` it has the files that Docker needed
    before version 1.10.
    """
    if form is Format.DOCKER_ARCHIVE:
        with whole_file(target) as file:
            if legacy:
                with temporary_directory(target) as directory:
                    return _legacy(build, directory, file.write, compression, on_layer)
            return _stream_compressed(build, file.write, compression, on_layer)

    def pack_into(directory: Path) -> list[BlobLayer]:
        return pack_all(build.sources, directory, compression, on_layer=on_layer)

    if form is Format.OCI_LAYOUT:
        return write_oci_layout(target, pack_into, build.assemble)
    docker = form is Format.ARCHIVE
    return write_archive(target, pack_into, build.assemble, docker=docker, mtime=build.mtime)


def stream_image(
    build: Buildable, write: Write, on_layer: OnLayer = lambda _index, _layer: None
) -> Image:
    """Hand a docker-archive to `write` and return the image."""
    return _stream_compressed(build, write, Compression.NONE, on_layer)


def _legacy(
    build: Buildable, directory: Path, write: Write, compression: Compression, on_layer: OnLayer
) -> Image:
    with in_background(write) as write_later:
        compressing = compressor(compression, write_later, available_cores())
        image = write_legacy_archive(
            compressing.write,
            build.sources,
            directory,
            build.assemble,
            mtime=build.mtime,
            on_layer=on_layer,
        )
        compressing.finish()
    return image


def _stream_compressed(
    build: Buildable, write: Write, compression: Compression, on_layer: OnLayer
) -> Image:
    with in_background(write) as write_later:
        compressing = compressor(compression, write_later, available_cores())
        image = write_docker_archive(
            compressing.write, build.sources, build.assemble, mtime=build.mtime, on_layer=on_layer
        )
        compressing.finish()
    return image
