"""Everything that can be wrong with an image, found as far as there is something to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import HashedReader, drain
from nixdock.oci.layout import BLOBS, REF_NAME, Format
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.reference import Reference
from nixdock.read.check_layer import check_blob, check_layer
from nixdock.read.members import Members
from nixdock.read.oci_layout import BlobUse
from nixdock.read.opening import ImageFile, open_image
from nixdock.read.problem import Complain, Problem
from nixdock.read.stored import StoredImage, StoredLayer
from nixdock.system.cores import available_cores

__all__ = ["Verification", "verify"]

# image-spec, annotations.md, "org.opencontainers.image.ref.name".
_REF_COMPONENT: Final = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REF: Final = re.compile(rf"{_REF_COMPONENT}(?:/{_REF_COMPONENT})*", re.ASCII)
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]+)?"
    r"([Zz]|[+-][0-2][0-9]:[0-5][0-9])",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong with it.

    `size` is that of the layers in bytes; `format` is None when the file is too damaged to tell.
    """

    format: Format | None
    images: int
    layers: int
    size: int
    problems: tuple[Problem, ...]


def verify(path: Path, cores: int | None = None) -> Verification:
    """Check all that an image says of itself, and that every runtime can unpack its layers.

    Each blob is read once. Raise InputError if there is no image at `path`.
    """
    problems: list[Problem] = []
    try:
        return _verify(path, problems, available_cores() if cores is None else cores)
    except InputError:
        # What is missing may be behind the damage that was found.
        if not problems:
            raise
        return Verification(None, 0, 0, 0, tuple(problems))


def _verify(path: Path, problems: list[Problem], cores: int) -> Verification:
    with open_image(path, problems.append) as file:
        for image in [*_of_layout(file), *_of_docker(file)]:
            problems += _check_image(image)
        problems += _check_names(file)
        problems += _check_stray(file)
        layers = _unique_layers(file, problems.append)
        with ThreadPoolExecutor(cores) as pool:
            for found in pool.map(lambda check: check(), _blob_checks(file, layers)):
                problems += found
        return Verification(
            format=file.format,
            images=len(file.images),
            layers=sum(len(image.layers) for image in file.images),
            size=sum(layer.size for layer in layers),
            problems=tuple(dict.fromkeys(problems)),
        )


def _of_layout(file: ImageFile) -> list[StoredImage]:
    return file.layout.images if file.layout else []


def _of_docker(file: ImageFile) -> list[StoredImage]:
    return file.docker.images if file.docker else []


def _check_image(image: StoredImage) -> Iterator[Problem]:
    config = image.config
    place = f"config of {image.place}"
    for key, value in (("architecture", config.architecture), ("os", config.os)):
        if not value:
            yield Problem(place, f"it has no {key}")
    for created in [config.created, *(entry.created for entry in config.history or [])]:
        if created is not None and not _RFC3339.fullmatch(created):
            yield Problem(place, f"created is {created!r}, which is no time in RFC 3339's form")
    diff_ids = config.rootfs.diff_ids or []
    made = sum(not entry.empty_layer for entry in config.history or [])
    # Leaving the history out is allowed, and every reader accepts it.
    if config.history and made != len(diff_ids):
        message = f"its history tells of {made} layers, but there are {len(diff_ids)}"
        yield Problem(place, message)
    if len(diff_ids) > MOST_LAYERS:
        message = f"it has {len(diff_ids)} layers, but Docker and Podman run at most {MOST_LAYERS}"
        yield Problem(place, message)
    platform = image.declared_platform
    if platform and (platform.architecture, platform.os) != (config.architecture, config.os):
        yield Problem(
            place,
            f"it is for {config.os}/{config.architecture}, but its descriptor says"
            f" {platform.os}/{platform.architecture}",
        )


def _check_names(file: ImageFile) -> Iterator[Problem]:
    for image in _of_docker(file):
        for tag in image.names:
            if not _is_reference(tag):
                yield Problem(image.place, f"the tag {tag!r} is not NAME:TAG")
    for key, name in file.layout.names if file.layout else ():
        fits = _REF.fullmatch(name) if key == REF_NAME else _is_reference(name.partition("@")[0])
        if not fits:
            yield Problem("index.json", f"{name!r} can't be a {key}")


def _is_reference(text: str) -> bool:
    try:
        # Reading a name forgives upper case and a missing tag.
        return str(Reference.parse(text)) == text
    except InputError:
        return False


def _check_stray(file: ImageFile) -> Iterator[Problem]:
    if file.layout is None or not file.layout.complete:
        return
    used = file.layout.files | (file.docker.files if file.docker else set())
    for name in sorted(file.members):
        if name.startswith(f"{BLOBS}/") and name not in used:
            yield Problem(name, "nothing refers to this blob")


def _unique_layers(file: ImageFile, complain: Complain) -> list[StoredLayer]:
    """Return the layers of all images, each blob once: it can't have two diff_ids."""
    images = [*_of_layout(file), *_of_docker(file)]
    unique: dict[str, StoredLayer] = {}
    for layer in (layer for image in images for layer in image.layers):
        first = unique.setdefault(layer.name, layer)
        if layer.diff_id != first.diff_id:
            message = (
                f"its diff_id is {layer.diff_id}, but that of the same blob is {first.diff_id}"
            )
            complain(Problem(layer.place, f"{message} as {first.place}"))
    return list(unique.values())


def _blob_checks(
    file: ImageFile, layers: list[StoredLayer]
) -> Iterator[Callable[[], list[Problem]]]:
    checked = {(layer.name, layer.size) for layer in layers if layer.declared_digest}
    for layer in layers:
        yield _Check(layer.place, partial(check_layer, layer))
    for use in file.layout.blobs if file.layout else ():
        if (use.name, use.size) not in checked:
            checked.add((use.name, use.size))
            yield _Check(use.place, partial(_check_use, use, file.members))


@dataclass(frozen=True, slots=True)
class _Check:
    """A check to be run; what it raises is a problem of its own."""

    place: str
    run: Callable[[], list[Problem]]

    def __call__(self) -> list[Problem]:
        try:
            return self.run()
        except ImageError as error:
            return [Problem(self.place, str(error))]


def _check_use(use: BlobUse, members: Members) -> list[Problem]:
    with HashedReader(members.open(use.name)) as blob:
        drain(blob)
        return check_blob(blob, use.place, use.digest, use.size)
