"""Opening an image in whatever form it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nixdock.errors import InputError
from nixdock.oci.layout import DOCKER_MANIFEST, INDEX, MARKER, Format
from nixdock.read.archive import open_members
from nixdock.read.directory import Directory
from nixdock.read.docker_archive import DockerView, read_docker_archive
from nixdock.read.members import Members
from nixdock.read.oci_layout import LayoutView, read_layout
from nixdock.read.problem import Complain, Problem, refuse
from nixdock.read.stored import StoredImage

__all__ = ["ImageFile", "familiar", "open_image"]

_HUB: Sequence[str] = ("docker.io/library/", "docker.io/")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The images in a file or directory.

    `layout` is how OCI tools see it and `docker` how Docker does; at least one is there, and
    both are in an archive of both kinds. `images` are those of the layout if there is one, with
    the names that both views give them.
    """

    path: Path
    format: Format
    members: Members
    layout: LayoutView | None
    docker: DockerView | None
    images: tuple[StoredImage, ...]


@contextmanager
def open_image(path: Path, complain: Complain = refuse) -> Iterator[ImageFile]:
    """Open the images at `path`, which can be read until the block ends.

    Documents are read and checked at once, layers when they are opened. Raise InputError if there
    is no image, ImageError for a damaged one; with a `complain` that returns, problems are handed
    to it instead and what they are about is left out.
    """
    members = open_members(path, complain)
    try:
        yield _read(path, members, complain)
    finally:
        members.close()


def _read(path: Path, members: Members, complain: Complain) -> ImageFile:
    has_layout = MARKER in members or INDEX in members
    has_docker = DOCKER_MANIFEST in members
    if not (has_layout or has_docker):
        raise InputError(
            f"{path} is not an image: it has neither {INDEX} nor {DOCKER_MANIFEST} at its top"
        )
    layout = read_layout(members, complain) if has_layout else None
    docker = read_docker_archive(members, complain) if has_docker else None
    if layout and docker:
        _check_same(layout, docker, complain)
    form = {
        (True, True): Format.ARCHIVE,
        (True, False): Format.OCI_ARCHIVE,
        (False, True): Format.DOCKER_ARCHIVE,
    }[has_layout, has_docker]
    if has_layout and isinstance(members, Directory):
        form = Format.OCI_LAYOUT
    return ImageFile(path, form, members, layout, docker, tuple(_images(layout, docker)))


def _images(layout: LayoutView | None, docker: DockerView | None) -> Iterator[StoredImage]:
    tags: dict[str, list[str]] = {}
    for image in docker.images if docker else ():
        names = [familiar(name) for name in image.names]
        tags.setdefault(image.config_digest, []).extend(names)
        if layout is None:
            yield replace(image, names=tuple(names))
    for image in layout.images if layout else ():
        names = [familiar(name) for name in image.names]
        docker_names = tags.get(image.config_digest, [])
        # A tag alone says nothing that the whole name does not.
        names = [name for name in names if not any(x.endswith(f":{name}") for x in docker_names)]
        yield replace(image, names=tuple(dict.fromkeys([*docker_names, *names])))


def familiar(name: str) -> str:
    """Return a full name as Docker shows it: without Docker Hub's host."""
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
            message = f"{INDEX} does not lead to its config {image.config_digest}"
            complain(Problem(image.place, message))
            continue
        _check_same_layers(image, same, complain)
        _check_same_names(image, same, complain)
    for image in layout.images:
        if image.config_digest not in in_docker and not image.from_index:
            message = f"{DOCKER_MANIFEST} does not have its config {image.config_digest}"
            complain(Problem(image.place, message))


def _check_same_layers(docker: StoredImage, layout: StoredImage, complain: Complain) -> None:
    # The config is the same, and so are the diff_ids; but the bytes may be compressed by one.
    seen_by_docker = [layer.name for layer in docker.layers]
    seen_by_others = [layer.name for layer in layout.layers]
    if seen_by_docker != seen_by_others:
        pairs = zip(seen_by_docker, seen_by_others, strict=False)
        number = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        which = "their number differs" if number is None else f"Layers[{number}] is another file"
        message = f"its layers are not those of {layout.place}: {which}"
        complain(Problem(docker.place, message))


def _check_same_names(docker: StoredImage, layout: StoredImage, complain: Complain) -> None:
    tags = [familiar(name) for name in docker.names]
    for name in map(familiar, layout.names):
        same = (tag == name or tag.endswith(f":{name}") for tag in tags)
        if tags and not any(same):
            message = f"its RepoTags are {list(docker.names)}, but {INDEX} says {name!r}"
            complain(Problem(docker.place, message))
