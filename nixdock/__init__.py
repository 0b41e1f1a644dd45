"""Turn Nix closures into container images.

The names in `__all__` are the public interface; everything else may change in any release. ::

    import nixdock

    spec = nixdock.read_spec("hello.json")
    image = nixdock.build_image(spec, "hello.tar")
    print(image.manifest.digest)

Importing nixdock is fast: each function loads what it needs when it is called, and each type is
loaded when it is first used. Every error that nixdock reports is a `NixdockError`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nixdock.errors import (
    ClosureError,
    ImageError,
    InputError,
    LayeringError,
    NixdockError,
    OutputError,
    PackError,
    PlanError,
    ScriptError,
    SpecError,
    StoreError,
    ToolError,
)

if TYPE_CHECKING:
    from nixdock.diff.result import Diff
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.strategies import Layering
    from nixdock.layers.compressors import Compression
    from nixdock.nix.closure import Closure, PathInfo
    from nixdock.nix.hashes import Hash
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.image import Image
    from nixdock.oci.layer_blob import LayerBlob
    from nixdock.oci.layout import Format
    from nixdock.read.report import FileReport
    from nixdock.read.verify import Verification
    from nixdock.spec.image_spec import ImageSpec

__all__ = [
    "Closure",
    "ClosureError",
    "Compression",
    "Diff",
    "FileReport",
    "Format",
    "Hash",
    "Image",
    "ImageError",
    "ImageSpec",
    "InputError",
    "LayerBlob",
    "LayerPlan",
    "Layering",
    "LayeringError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PathInfo",
    "PlanError",
    "ScriptError",
    "SpecError",
    "StoreError",
    "StorePath",
    "ToolError",
    "Verification",
    "build_image",
    "diff_images",
    "export_image",
    "image_digests",
    "inspect_image",
    "merge_images",
    "parse_closure",
    "plan_layers",
    "read_spec",
    "stream_image",
    "verify_image",
]

_TYPES: Final = {
    "Closure": "nixdock.nix.closure",
    "Compression": "nixdock.layers.compressors",
    "Diff": "nixdock.diff.result",
    "FileReport": "nixdock.read.report",
    "Format": "nixdock.oci.layout",
    "Hash": "nixdock.nix.hashes",
    "Image": "nixdock.oci.image",
    "ImageSpec": "nixdock.spec.image_spec",
    "LayerBlob": "nixdock.oci.layer_blob",
    "LayerPlan": "nixdock.layering.plan",
    "Layering": "nixdock.layering.strategies",
    "PathInfo": "nixdock.nix.closure",
    "StorePath": "nixdock.nix.store_path",
    "Verification": "nixdock.read.verify",
}

_Path = str | os.PathLike[str]
_OnLayer = Callable[[int, "LayerBlob"], object]


def __getattr__(name: str) -> Any:
    """Load a type of the public interface when it is first used (PEP 562)."""
    if name not in _TYPES:
        raise AttributeError(f"module 'nixdock' has no attribute {name!r}")
    value = getattr(importlib.import_module(_TYPES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def read_spec(file: _Path) -> ImageSpec:
    """Read an image spec, or dockerTools' stream configuration, from a JSON file.

    `-` is standard input. Relative names of files in a spec count from the spec's own directory.
    Raise InputError if the file can't be read, SpecError if it is not valid.
    """
    from nixdock.spec.reading import read_spec

    return read_spec(Path(file))


def build_image(
    spec: ImageSpec,
    target: _Path,
    *,
    form: Format | str = "archive",
    compression: Compression | str = "none",
    legacy: bool = False,
    on_layer: _OnLayer | None = None,
) -> Image:
    """Build the image that `spec` describes as the file or directory `target`, and return it.

    `target` appears whole or not at all. `form` is archive, docker-archive, oci-archive or
    oci-layout; `compression` is none, gzip or zstd, for each layer or, in a docker-archive, for the
    whole file. `legacy` adds to a docker-archive the files that Docker needed before 1.10.
    `on_layer` is called with the index, from 0, and the LayerBlob of each layer once it is packed.

    Raise InputError or one of its subclasses if the spec, the closure or the base image is wrong,
    ScriptError if a script of the spec fails, PackError if a file can't be packed, ImageError if
    the base image is damaged, and OutputError if the target can't be written.
    """
    from nixdock.build.build import prepared_build
    from nixdock.layers.compressors import Compression
    from nixdock.layers.pack import ignore_layer
    from nixdock.oci.layout import Format
    from nixdock.write.image import write_image

    with prepared_build(spec) as build:
        return write_image(
            build,
            Path(target),
            Format(form),
            Compression(compression),
            on_layer or ignore_layer,
            legacy=legacy,
        )


def image_digests(
    spec: ImageSpec,
    *,
    compression: Compression | str = "none",
    on_layer: _OnLayer | None = None,
) -> Image:
    """Return the image that `build_image` would build, without writing anything.

    Every layer is packed to compute its digest. Raise what `build_image` raises.
    """
    from nixdock.build.build import prepared_build
    from nixdock.layers.compressors import Compression
    from nixdock.layers.pack import ignore_layer, pack_all

    with prepared_build(spec) as build:
        blobs = pack_all(
            build.layers, None, Compression(compression), on_layer=on_layer or ignore_layer
        )
        return build.assemble(blobs)


def stream_image(
    spec: ImageSpec,
    write: Callable[[memoryview | bytes], object],
    *,
    on_layer: _OnLayer | None = None,
) -> Image:
    """Hand the image that `spec` describes to `write`, as an uncompressed docker-archive.

    Return the image; raise what `build_image` raises, and whatever `write` raises.
    """
    from nixdock.build.build import prepared_build
    from nixdock.layers.pack import ignore_layer
    from nixdock.write.image import stream_image

    with prepared_build(spec) as build:
        return stream_image(build, write, on_layer or ignore_layer)


def parse_closure(data: bytes, keys: Iterable[str] = (), origin: str = "the graph") -> Closure:
    """Return the closure in `data`, in any form in which Nix exports a reference graph.

    These are a file of structured attributes with `exportReferencesGraph`, of which `keys` names
    the graphs to read (all by default), the output of `nix path-info --json`, a list of path infos,
    and registration text. `origin` names the data in errors. Raise ClosureError.
    """
    from nixdock.nix.reference_graph import parse_closure

    return parse_closure(data, tuple(keys), origin)


def plan_layers(
    closure: Closure, *, layering: Layering | None = None, max_layers: int = 100
) -> LayerPlan:
    """Return which store paths of `closure` share a layer, bottom to top.

    `max_layers` is the limit of the finished image, in which the top layer counts. `layering` is
    the strategy and its settings, `stable` by default. Raise PlanError if no plan fits.
    """
    from nixdock.layering.strategies import Layering
    from nixdock.oci.limits import MOST_LAYERS

    layering = layering or Layering()
    return layering.plan(closure, layering.budget(max_layers, most_layers=MOST_LAYERS))


def inspect_image(path: _Path) -> FileReport:
    """Return what is in the images at `path`: configs, layers and their store paths.

    Every layer is read and verified. Raise InputError if there is no image, ImageError if one is
    damaged.
    """
    from nixdock.read.opening import open_image
    from nixdock.read.report import inspect_images

    with open_image(Path(path)) as file:
        return inspect_images(file)


def verify_image(path: _Path) -> Verification:
    """Check every digest, size and count of the images at `path`, and that their layers unpack.

    The result lists all problems; raise InputError only if there is no image at all.
    """
    from nixdock.read.verify import verify

    return verify(Path(path))


def diff_images(
    old: _Path,
    new: _Path,
    *,
    layering: Layering | None = None,
    new_layering: Layering | None = None,
    max_layers: int = 100,
    architecture: str | None = None,
) -> Diff:
    """Return what an update from `old` to `new` transfers, and why.

    Each is an image in any form, a plan file, or a reference graph, which is planned first: by
    `layering` within `max_layers`, and `new` by `new_layering` if that is given. `architecture`
    chooses among images for several platforms. Raise InputError if one is none of these, ImageError
    if an image is damaged.
    """
    from nixdock.diff.comparison import compare_sides
    from nixdock.diff.reading import Planning, read_side
    from nixdock.layering.strategies import Layering

    layering = layering or Layering()
    return compare_sides(
        read_side(Path(old), Planning(layering, max_layers), architecture),
        read_side(Path(new), Planning(new_layering or layering, max_layers), architecture),
    )


def export_image(
    path: _Path,
    write: Callable[[memoryview | bytes], object],
    *,
    mtime: int = 1,
    name: str | None = None,
    tag: str | None = None,
) -> None:
    """Hand the root file system of the image at `path` to `write`, as a tar.

    All times are `mtime`, in seconds since 1970; `name` and `tag` choose among several images. All
    layers are verified before the first byte. Raise InputError if the image is not there,
    ImageError if it is damaged.
    """
    from nixdock.rootfs.export import export_image

    export_image(Path(path), write, mtime=mtime, name=name, tag=tag)


def merge_images(
    paths: Iterable[_Path], write: Callable[[memoryview | bytes], object], *, mtime: int = 1
) -> None:
    """Hand all images of the files at `paths` to `write`, as one docker-archive.

    Images keep their IDs, and equal layers are written once. All times are `mtime`, in seconds
    since 1970. Raise InputError if there is no image at a path, ImageError if one is damaged.
    """
    from nixdock.merge.images import merge_images

    merge_images([Path(path) for path in paths], write, mtime=mtime)
