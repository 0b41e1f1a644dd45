"""Images that exist already: reading, checking, converting and fetching them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from nixdock.errors import InputError
from nixdock.face.several import several

if TYPE_CHECKING:
    from nixdock.face.describing import Describing
    from nixdock.layers.compression import Compression
    from nixdock.layers.progress import Progress
    from nixdock.oci.location import Place
    from nixdock.read.opening import ImageFile
    from nixdock.read.problem import Complain
    from nixdock.read.report import FileReport
    from nixdock.read.verify import Verification
    from nixdock.registry.access import Access
    from nixdock.registry.prefetch import Prefetched, Remote
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.system.buffers import Write

__all__ = [
    "export_image",
    "inspect_image",
    "merge_images",
    "prefetch_image",
    "tarsum",
    "verify_image",
]


def inspect_image(
    source: ImageSpec | Place,
    *,
    quick: bool = False,
    platform: str | None = None,
    progress: Progress | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> FileReport:
    """Return the configs and layers of the images at `source`, and the store paths in each layer.

    Every layer is read and verified; `progress` is told how far. With `quick`, no layer is read:
    the store paths and the digests that the image does not state are left empty. `platform`, as
    OS/ARCHITECTURE[/VARIANT], leaves out the images for others. Raise InputError if there is no
    image at `source`, ImageError if one is damaged, and RegistryError if a registry does not send
    it.

    If `source` is a spec, the report is that on the archive that `build_image` would write, but
    nothing is written, and layers that are known, as `describing` says, are not packed. With
    `quick`, none is, no script runs, and what can't be known is left empty.
    """
    from nixdock.layers.progress import NO_PROGRESS
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.read.report import inspect_images, list_images
    from nixdock.read.selection import images_for
    from nixdock.registry.opening import open_location
    from nixdock.spec.image_spec import ImageSpec

    wanted = wanted_platform(platform)
    if isinstance(source, ImageSpec):
        from nixdock.face.described import Described
        from nixdock.face.describing import Describing

        described = Described(source, describing or Describing(), wanted, access)
        return described.quick_report() if quick else described.report(progress or NO_PROGRESS)
    with open_location(location_of(source), access, platform=wanted) as opened:
        file = images_for(opened, wanted)
        if quick:
            return list_images(file)
        return inspect_images(file, progress=progress or NO_PROGRESS)


def verify_image(
    path: Place,
    *,
    strict: bool = False,
    progress: Progress | None = None,
    access: Access | None = None,
) -> Verification:
    """Check every digest, size and count of the images at `path`, and that their layers unpack.

    The result lists all problems, and warnings of what only some runtimes refuse; with `strict`,
    these are problems, too. `progress` is told how much of each layer has been read. Raise
    InputError if there is no image at `path` at all, and RegistryError if a registry can't be
    asked.
    """
    from nixdock.layers.progress import NO_PROGRESS
    from nixdock.oci.location import location_of
    from nixdock.read.verify import verify
    from nixdock.registry.opening import open_location

    location = location_of(path)

    @contextmanager
    def open_file(complain: Complain) -> Iterator[ImageFile]:
        with open_location(location, access, complain=complain) as file:
            yield file

    return verify(open_file, strict=strict, progress=progress or NO_PROGRESS)


def export_image(
    path: Place,
    write: Write,
    *,
    mtime: int = 1,
    name: str | None = None,
    tag: str | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> None:
    """Pass the root file system of the image at `path` to `write`, as a tar.

    `write` takes memoryviews and bytes. All modification times are `mtime`, in seconds since 1970.
    `name`, `tag` and `platform`, as OS/ARCHITECTURE[/VARIANT], select one of several images; the
    default is linux/amd64 if there are several platforms. All layers are verified before the first
    byte is written. Raise InputError if there is no such image, ImageError if it is damaged, and
    RegistryError if a registry does not send it.
    """
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.rootfs import export

    export.export_image(
        location_of(path),
        write,
        mtime=mtime,
        name=name,
        tag=tag,
        platform=wanted_platform(platform),
        access=access,
    )


def merge_images(
    paths: Iterable[Place],
    write: Write,
    *,
    compression: Compression | str | None = "none",
    mtime: int = 1,
    platform: str | None = None,
    access: Access | None = None,
) -> None:
    """Pass all images at `paths` to `write`, as one docker-archive.

    Images keep their IDs, and equal layers are written once. `compression` applies to the whole
    archive; None selects the compression of the last file, or gzip if that is xz. All modification
    times are `mtime`, in seconds since 1970. `platform`, as OS/ARCHITECTURE[/VARIANT], leaves out
    the images for others; by default, there are all images of files and, of an index in a registry,
    the one for linux/amd64. Raise InputError if there is no image at a path, ImageError if one is
    damaged, and RegistryError if a registry does not send it.
    """
    from nixdock.layers.compression import Compression
    from nixdock.layers.compressors import compressor
    from nixdock.merge import images
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.system.cores import available_cores

    wanted = wanted_platform(platform)
    places = [location_of(path) for path in several(paths, "paths")]
    chosen = images.compression_like(places) if compression is None else Compression.of(compression)
    with compressor(chosen, write, available_cores()) as stream:
        images.merge_images(places, stream.write, mtime=mtime, platform=wanted, access=access)


def tarsum(
    stream: BinaryIO,
    *,
    version: str = "v1",
    algorithm: str = "sha256",
    names: bool = True,
    origin: str = "the tar",
) -> str:
    """Return the TarSum of the tar in `stream`, as VERSION+ALGORITHM:HEX.

    `version` is v0, which includes modification times, or v1 or dev, which include extended
    attributes. `names` says whether the names of owners and groups are included. `origin` names
    the tar in error messages. Raise ImageError if the tar is malformed.
    """
    from nixdock.tar import tarsum as sums

    if version.upper() not in sums.TarSumVersion.__members__:
        versions = ", ".join(each.name.lower() for each in sums.TarSumVersion)
        raise InputError(f"there is no version {version!r} of TarSum; choose from {versions}")
    return sums.tarsum(
        stream, sums.TarSumVersion[version.upper()], algorithm, names=names, what=origin
    )


def prefetch_image(
    remote: Remote, *, final_name: str = "", final_tag: str = "", algorithm: str = "sha256"
) -> Prefetched:
    """Fetch an image from a registry into the Nix store, for `pullImage`.

    The image is called `final_name:final_tag` in the store; by default, it keeps the name and tag
    of `remote`. `algorithm` is that of the returned hash, sha256 or sha512. Raise InputError if the
    registry has no image for the platform, ToolError if skopeo or nix-store is missing, ImageError
    if the image can't be fetched, and OutputError if it can't be added to the store.
    """
    from nixdock.registry.prefetch import prefetch

    return prefetch(remote, final_name, final_tag, algorithm)
