"""Open an image file in any format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace as replace_struct

from nixdock.errors import InputError
from nixdock.oci.layout import DIR_VERSION, DOCKER_MANIFEST, INDEX, MARKER, Format
from nixdock.read.archive import open_members
from nixdock.read.directory import Directory
from nixdock.read.docker_archive import DockerView, read_docker_archive
from nixdock.read.layout_view import LayoutView
from nixdock.read.members import Members, check_is_image
from nixdock.read.oci_layout import read_layout
from nixdock.read.problem import Complain, Problem, naming, refuse
from nixdock.read.stored import StoredImage

__all__ = ["REGISTRY", "ImageFile", "familiar_name", "open_image", "read_images"]

REGISTRY: Final = "registry"
"""The format of images in a registry."""

_HUB: Sequence[str] = ("docker.io/library/", "docker.io/")


class ImageFile(Struct, frozen=True):
    """The images at a location: in a file or directory, or in a registry.

    `path` is the location and `format` is a `Format` or, for a registry, REGISTRY. `layout` is the
    view of OCI tools and `docker` that of Docker; at least one is not None, and
    an archive can have both. `images` are those of the layout if there is one, with their names
    in both views.
    """

    path: str
    format: str
    members: Members
    layout: LayoutView | None
    docker: DockerView | None
    images: tuple[StoredImage, ...]

    def without_path(self) -> ImageFile:
        """Return it with layers that do not name the location, as of an image in between."""
        return replace_struct(self, images=tuple(image.at("") for image in self.images))

    @property
    def is_local(self) -> bool:
        """Whether the layers are in files."""
        return self.format != REGISTRY


@contextmanager
def open_image(path: Path, complain: Complain = refuse) -> Iterator[ImageFile]:
    """Open the images at `path`; they can be read until the block ends.

    Documents are read and checked at once, layers when they are opened. Raise InputError if there
    is no image, and ImageError for the first problem. If `complain` returns instead of raising,
    the damaged part is left out.
    """
    complain = naming(str(path), complain)
    members = open_members(path, complain)
    try:
        yield read_images(members, str(path), complain)
    finally:
        members.close()


def read_images(members: Members, path: str, complain: Complain = refuse) -> ImageFile:
    """Return the images in `members`, the files at the location `path`; see `open_image`."""
    if DIR_VERSION in members and DOCKER_MANIFEST in members and MARKER not in members:
        raise InputError(
            f"{path} is an image in the form of skopeo's dir: transport, which nixdock does not"
            f" read; convert it with `skopeo copy dir:{path} oci:NEW:TAG`",
            path=path,
        )
    complain = naming(path, complain)
    check_is_image(members, path)
    has_layout = MARKER in members or INDEX in members
    has_docker = DOCKER_MANIFEST in members
    layout = read_layout(members, complain) if has_layout else None
    docker = read_docker_archive(members, complain) if has_docker else None
    if layout:
        layout.images = [image.at(path) for image in layout.images]
    if docker:
        docker.images = [image.at(path) for image in docker.images]
    if layout and docker:
        _check_same(layout, docker, complain)
    if not has_layout:
        form = Format.DOCKER_ARCHIVE
    elif isinstance(members, Directory):
        form = Format.OCI_LAYOUT
    else:
        form = Format.ARCHIVE if has_docker else Format.OCI_ARCHIVE
    return ImageFile(path, form, members, layout, docker, tuple(_images(layout, docker)))


def _images(layout: LayoutView | None, docker: DockerView | None) -> Iterator[StoredImage]:
    tags: dict[str, list[str]] = {}
    for image in docker.images if docker else ():
        names = [familiar_name(name) for name in image.names]
        tags.setdefault(image.config_digest, []).extend(names)
        if layout is None:
            yield replace(image, names=tuple(names))
    for image in layout.images if layout else ():
        names = [familiar_name(name) for name in image.names]
        docker_names = tags.get(image.config_digest, [])
        # Leave out a tag if a full name ends with it.
        names = [name for name in names if not any(x.endswith(f":{name}") for x in docker_names)]
        yield replace(image, names=tuple(dict.fromkeys([*docker_names, *names])))


def familiar_name(name: str) -> str:
    """Return a full image name as Docker shows it: without the host of Docker Hub."""
    for prefix in _HUB:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _check_same(layout: LayoutView, docker: DockerView, complain: Complain) -> None:
    """Complain unless Docker and OCI tools see the same image."""
    in_layout = {image.config_digest: image for image in layout.images}
    in_docker = {image.config_digest for image in docker.images}
    for image in docker.images:
        same = in_layout.get(image.config_digest)
        if same is None:
            message = f"{INDEX} does not lead to the config {image.config_digest}"
            complain(Problem(image.place, message, image.config_digest))
            continue
        _check_same_layers(image, same, complain)
        _check_same_names(image, same, complain)
    # Docker knows one of the images for several platforms.
    several = len({image.platform for image in layout.images}) > 1
    for image in layout.images:
        if image.config_digest not in in_docker and not (several or image.index):
            message = f"{DOCKER_MANIFEST} does not list the config {image.config_digest}"
            complain(Problem(image.place, message, image.config_digest))


def _check_same_layers(docker: StoredImage, layout: StoredImage, complain: Complain) -> None:
    # Both have the same config, so the diff_ids are equal; compare the names of the blobs.
    docker_names = [layer.name for layer in docker.layers]
    layout_names = [layer.name for layer in layout.layers]
    if docker_names == layout_names:
        return
    pairs = enumerate(zip(docker_names, layout_names, strict=False))
    number = next(
        (i for i, (docker_name, layout_name) in pairs if docker_name != layout_name), None
    )
    difference = "their number differs" if number is None else f"Layers[{number}] is another file"
    message = f"the layers are not those of {layout.place}: {difference}"
    complain(Problem(docker.place, message))


def _check_same_names(docker: StoredImage, layout: StoredImage, complain: Complain) -> None:
    tags = [familiar_name(name) for name in docker.names]
    for name in map(familiar_name, layout.names):
        same = (tag == name or tag.endswith(f":{name}") for tag in tags)
        if tags and not any(same):
            message = f"RepoTags are {list(docker.names)}, but {INDEX} says {name!r}"
            complain(Problem(docker.place, message, key="RepoTags"))
