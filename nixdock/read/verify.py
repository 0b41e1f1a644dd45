"""Find all problems of an image, as far as it can be read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import HashedReader, drain
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.config_faults import config_faults
from nixdock.oci.layout import BLOBS, INDEX, LAYOUT_DIRECTORIES, REF_NAME
from nixdock.oci.layout_names import is_full_name
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.reference import Reference
from nixdock.read.archive import Archive
from nixdock.read.check_layer import Checked, check_blob, check_layer
from nixdock.read.layout_view import BlobUse
from nixdock.read.members import Members
from nixdock.read.merging import check_merging
from nixdock.read.opening import ImageFile
from nixdock.read.problem import Complain, Problem
from nixdock.read.side_by_side import Advance, read_side_by_side
from nixdock.read.stored import StoredImage
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.watched import watched
from nixdock.system.cores import available_cores
from nixdock.system.text import counted

__all__ = ["Verification", "verify"]

_Open = Callable[[Complain], AbstractContextManager[ImageFile]]

# image-spec, annotations.md, "org.opencontainers.image.ref.name".
_REF_COMPONENT: Final = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REF: Final = re.compile(rf"{_REF_COMPONENT}(?:/{_REF_COMPONENT})*", re.ASCII)


class Verification(Struct, frozen=True):
    """The problems of an image file, and what was checked.

    `size` is the total size of the layers in bytes. `format` is None if the file is too damaged.
    `warnings` do not keep the image from being used.
    """

    format: str | None
    images: int
    layers: int
    size: int
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    @classmethod
    def of(
        cls, problems: list[Problem], form: str | None, images: int, layers: int, size: int
    ) -> Verification:
        """Return the result, with each problem once and warnings apart."""
        unique = tuple(dict.fromkeys(problems))
        return cls(
            format=form,
            images=images,
            layers=layers,
            size=size,
            problems=tuple(problem for problem in unique if not problem.warning),
            warnings=tuple(problem for problem in unique if problem.warning),
        )


def verify(
    open_file: _Open,
    cores: int | None = None,
    *,
    strict: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Check every digest, size and count in an image, and that every runtime can unpack its layers.

    `open_file` opens it, and passes problems on. Each blob is read once, on as many `cores`. With
    `strict`, warnings are problems, too. Raise what `open_file` raises if there is no image.
    """
    found = _verify_leniently(open_file, available_cores() if cores is None else cores, progress)
    if not strict:
        return found
    warnings = (dataclasses.replace(problem, warning=False) for problem in found.warnings)
    return replace(found, problems=(*found.problems, *warnings), warnings=())


def _verify_leniently(open_file: _Open, cores: int, progress: Progress) -> Verification:
    problems: list[Problem] = []
    try:
        return _verify(open_file, problems, cores, progress)
    except InputError:
        # The image's documents may be in the damaged part of the file.
        if not problems:
            raise
        return Verification.of(problems, None, 0, 0, 0)


def _verify(
    open_file: _Open, problems: list[Problem], cores: int, progress: Progress
) -> Verification:
    with open_file(problems.append) as file:
        for image in [*_layout_images(file), *_docker_images(file)]:
            problems += _check_image(image)
        problems += _check_names(file)
        problems += _check_references(file)
        problems += _check_directories(file)
        if not file.images and all(problem.warning for problem in problems):
            problems.append(Problem(INDEX, "there is no image"))
        layers = _unique_layers(file, problems.append)
        checks = [*_blob_checks(file, layers)]
        sizes = [layer.size for layer in layers]
        checked = read_side_by_side(checks, sizes, cores, progress, is_local=file.is_local)
        for each in checked:
            problems += each.problems
        # The layers that only those below them can explain.
        dependent = {
            layer.name for layer, each in zip(layers, checked, strict=False) if each.needs_lower
        }
        if all(problem.warning for problem in problems):
            problems += _check_merged(file, dependent)
        return Verification.of(
            problems,
            file.format,
            images=len(file.images),
            layers=sum(len(image.layers) for image in file.images),
            size=sum(layer.size for layer in layers),
        )


def _layout_images(file: ImageFile) -> list[StoredImage]:
    return file.layout.images if file.layout else []


def _docker_images(file: ImageFile) -> list[StoredImage]:
    return file.docker.images if file.docker else []


def _check_image(image: StoredImage) -> Iterator[Problem]:
    config = image.config
    place = f"config of {image.place}"
    for key, value in (("architecture", config.architecture), ("os", config.os)):
        if not value:
            yield Problem(place, f"the config has no {key}", key=key)
    for fault in config_faults(config):
        yield Problem(place, fault.message, key=fault.key)
    diff_ids = config.rootfs.diff_ids or []
    in_history = sum(not entry.empty_layer for entry in config.history or [])
    # The history may be left out: every reader accepts that.
    if config.history and in_history != len(diff_ids):
        message = (
            f"the history has entries for {counted(in_history, 'layer')}, but the config has"
            f" {counted(len(diff_ids), 'diff_id')}"
        )
        yield Problem(place, message, key="history")
    if len(diff_ids) > MOST_LAYERS:
        message = (
            f"the image has {len(diff_ids)} layers, but Docker and Podman run at most {MOST_LAYERS}"
        )
        yield Problem(place, message, key="rootfs.diff_ids")
    platform = image.declared_platform
    if platform and (platform.architecture, platform.os) != (config.architecture, config.os):
        yield Problem(
            place,
            f"the image is for {config.os}/{config.architecture}, but its descriptor says"
            f" {platform.os}/{platform.architecture}",
        )


def _check_names(file: ImageFile) -> Iterator[Problem]:
    for image in _docker_images(file):
        for tag in image.names:
            if not _is_reference(tag):
                yield Problem(image.place, f"the tag {tag!r} is not NAME:TAG", key="RepoTags")
    for key, name in file.layout.names if file.layout else ():
        valid = _REF.fullmatch(name) if key == REF_NAME else is_full_name(name)
        if not valid:
            yield Problem(INDEX, f"{name!r} is not a valid {key}", key=key)


def _is_reference(text: str) -> bool:
    try:
        # `parse` also accepts upper case and a missing tag, so compare its result.
        return str(Reference.parse(text)) == text
    except InputError:
        return False


def _check_references(file: ImageFile) -> Iterator[Problem]:
    if file.layout is None or not file.layout.complete:
        return
    used = file.layout.files | (file.docker.files if file.docker else set())
    for name in sorted(file.members):
        if name.startswith(f"{BLOBS}/") and name not in used:
            # Docker saves configs of its old form with an image.
            yield Problem(name, "nothing refers to this blob", warning=True)


def _check_directories(file: ImageFile) -> Iterator[Problem]:
    if file.layout is None or not isinstance(file.members, Archive):
        return
    for name in LAYOUT_DIRECTORIES:
        if name not in file.members.directories:
            message = (
                f"there is no entry for {name}/, without which only root can unpack it in skopeo"
            )
            yield Problem("archive", message, warning=True)


def _check_merged(file: ImageFile, dependent: set[str]) -> Iterator[Problem]:
    """Check images with layers whose members depend on lower layers: merge them.

    The same layers under several names, or for several platforms, are merged once. What manifests
    say of them differs, so media types that can't be read are found before.
    """
    merged: set[tuple[str, ...]] = set()
    for image in file.images:
        names = tuple(layer.name for layer in image.layers)
        if dependent.isdisjoint(names):
            continue
        wrong = [(each, text) for each in image.layers if (text := each.media_type_error())]
        for layer, text in wrong[:1]:
            yield Problem(layer.place, text)
        if wrong or names in merged:
            continue
        merged.add(names)
        try:
            for layer, text in check_merging(image.layers):
                yield Problem(layer.place, text, warning=True)
        except ImageError as error:
            place = error.place or image.place
            text = str(error).removeprefix(f"{error.path}: ").removeprefix(f"{place}: ")
            yield Problem(place, text)


def _unique_layers(file: ImageFile, complain: Complain) -> list[StoredLayer]:
    """Return the layers of all images, each blob once; complain if one has two diff_ids."""
    images = [*_layout_images(file), *_docker_images(file)]
    unique: dict[str, StoredLayer] = {}
    for layer in (layer for image in images for layer in image.layers):
        first = unique.setdefault(layer.name, layer)
        if layer.diff_id != first.diff_id:
            message = (
                f"the diff_id is {layer.diff_id}, but the same blob is {first.place} with the"
                f" diff_id {first.diff_id}"
            )
            complain(Problem(layer.place, message))
    return list(unique.values())


def _blob_checks(file: ImageFile, layers: list[StoredLayer]) -> Iterator[_Check]:
    """Yield the checks of the layers, and then those of other blobs."""
    checked = {(layer.name, layer.size) for layer in layers if layer.declared_digest}
    for layer in layers:
        yield _Check(layer.place, partial(_check_watched, layer))
    for use in file.layout.blobs if file.layout else ():
        if (use.name, use.size) not in checked:
            checked.add((use.name, use.size))
            yield _Check(use.place, partial(_check_blob_use, use, file.members))


class _Check(Struct, frozen=True):
    """A check to be run; an ImageError that it raises becomes a problem."""

    place: str
    run: Callable[[Advance], Checked]

    def __call__(self, advance: Advance) -> Checked:
        try:
            return self.run(advance)
        except ImageError as error:
            return Checked([Problem(self.place, str(error), error.digest, error.key)])


def _check_watched(layer: StoredLayer, advance: Advance) -> Checked:
    return check_layer(watched(layer, advance))


def _check_blob_use(use: BlobUse, members: Members, _: Advance) -> Checked:
    with HashedReader(members.open(use.name)) as blob:
        drain(blob)
        return Checked(check_blob(blob, use.place, use.digest, use.size))
