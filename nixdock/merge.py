"""Merging: all images of several files in one docker-archive, each layer in it once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from nixdock.compression import Compression
from nixdock.digest import Write, hex_of
from nixdock.errors import InputError
from nixdock.image import canonical_json
from nixdock.output.docker_archive import as_docker_reads
from nixdock.output.legacy_archive import legacy_documents, legacy_ids
from nixdock.output.member import ArchiveWriter
from nixdock.reference import Reference
from nixdock.source.copy import finished_layer
from nixdock.source.decompress import MAGIC_SIZE, Coding, coding_of
from nixdock.source.docker_archive import DOCKER_MANIFEST
from nixdock.source.image import SourceImage, SourceLayer
from nixdock.source.open import ImageFile, open_image
from nixdock.source.problem import shown
from nixdock.tar_header import Entry, Kind

__all__ = ["compression_like", "merge_images"]

_REPOSITORIES: Final = "repositories"
_LEGACY_VERSION: Final = b"1.0"

log = logging.getLogger(__name__)


def compression_like(paths: Sequence[Path]) -> Compression:
    """Return how the last of `paths` is compressed as a whole, as Docker could read it.

    gzip when there is none, as in dockerTools, and in place of xz, which is not written.
    """
    if not paths:
        return Compression.GZIP
    last = paths[-1]
    if not last.is_file():
        return Compression.NONE
    try:
        with last.open("rb") as file:
            coding = coding_of(file.read(MAGIC_SIZE))
    except OSError as error:
        raise InputError(f"can't open {last}: {error.strerror}") from None
    return Compression.GZIP if coding is Coding.XZ else Compression(coding.value)


def merge_images(paths: Sequence[Path], write: Write, *, mtime: int) -> None:
    """Hand a docker-archive with all images of `paths`, in their order, to `write`.

    Configs and layers stay as they are, so the images keep their IDs. Raise InputError when there
    is no image at a path, ImageError when one is damaged.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_image(path)) for path in paths]
        _write(_merged(files), write, mtime, legacy=any(_REPOSITORIES in f.members for f in files))


@dataclass(slots=True)
class _Merged:
    """An image of the result, and the names that it keeps."""

    image: SourceImage
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Named:
    """Who has a name: an image, and the file that says so."""

    digest: str
    file: ImageFile
    from_index: bool


def _merged(files: Iterable[ImageFile]) -> list[_Merged]:
    """Return the images of all files, equal ones as one, each name at one of them.

    Of several images with the same name the last one has it, as when the files are loaded one
    after another. Those that one index has for several platforms share a name: the first has it.
    """
    merged: dict[str, _Merged] = {}
    owners: dict[str, _Named] = {}
    for file in files:
        for image in file.images:
            digest = image.config_digest
            merged.setdefault(digest, _Merged(image))
            for tag in _tags(image, file):
                owner = owners.get(tag)
                if owner is None or owner.digest == digest:
                    owners[tag] = _Named(digest, file, image.from_index)
                elif owner.file is file and owner.from_index and image.from_index:
                    log.warning(
                        "%s has %s for several platforms; the first one keeps the name",
                        *(file.path, tag),
                    )
                else:
                    log.warning(
                        "%s is in %s and in %s; the last one has the name",
                        *(tag, owner.file.path, file.path),
                    )
                    owners[tag] = _Named(digest, file, image.from_index)
    for tag, owner in owners.items():
        merged[owner.digest].tags.append(tag)
    return list(merged.values())


def _tags(image: SourceImage, file: ImageFile) -> Iterator[str]:
    """Yield an image's names that are whole; Docker would load nothing if one were not."""
    for name in image.names:
        try:
            whole = str(Reference.parse(name)) == name
        except InputError:
            whole = False
        if whole:
            yield name
        else:
            log.warning("the name %r in %s is left out: it is not NAME:TAG", shown(name), file.path)


class _Archive(ArchiveWriter):
    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        entry = Entry(name.encode(), Kind.SYMLINK, 0o777, target=target.encode())
        header = self._headers.encode(entry)
        self._write(header)
        self._size += len(header)


def _write(merged: Sequence[_Merged], write: Write, mtime: int, *, legacy: bool) -> None:
    archive = _Archive(write, mtime)
    layers = {layer.diff_id: layer for found in reversed(merged) for layer in found.image.layers}
    for layer in _in_order(merged, layers):
        readable = as_docker_reads(finished_layer(layer))
        with archive.member(_layer_path(layer), readable.size) as write_layer:
            readable.copy(write_layer)
    for found in merged:
        archive.add(_config_path(found.image), found.image.config_data)
    if legacy:
        _write_legacy(merged, archive)
    manifest = [
        {
            "Config": _config_path(found.image),
            "RepoTags": found.tags or None,
            "Layers": [_layer_path(layer) for layer in found.image.layers],
        }
        for found in merged
    ]
    archive.add(DOCKER_MANIFEST, canonical_json(manifest))
    archive.finish()


def _in_order(
    merged: Iterable[_Merged], layers: Mapping[str, SourceLayer]
) -> Iterator[SourceLayer]:
    for diff_id in dict.fromkeys(layer.diff_id for found in merged for layer in found.image.layers):
        yield layers[diff_id]


def _layer_path(layer: SourceLayer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"


def _config_path(image: SourceImage) -> str:
    return f"{hex_of(image.config_digest)}.json"


def _write_legacy(merged: Iterable[_Merged], archive: _Archive) -> None:
    """Write what Docker needed before 1.10: a directory for each layer, and `repositories`."""
    repositories: dict[str, dict[str, str]] = {}
    documents: dict[str, Mapping[str, Any]] = {}
    tars: dict[str, str] = {}
    for found in merged:
        layers = found.image.layers
        ids = legacy_ids([layer.diff_id for layer in layers])
        tars.update(zip(ids, map(_layer_path, layers), strict=True))
        config = orjson.loads(found.image.config_data)
        for name, document in legacy_documents(ids, config).items():
            # What is the topmost layer of one image, and says how to run it, may be in others.
            if name not in documents or "config" not in documents[name]:
                documents[name] = document
        for reference in map(Reference.parse, found.tags if ids else ()):
            repositories.setdefault(reference.repository, {})[reference.tag] = ids[-1]
    for name, document in documents.items():
        archive.link(f"{name}/layer.tar", f"../{tars[name]}")
        archive.add(f"{name}/VERSION", _LEGACY_VERSION)
        archive.add(f"{name}/json", canonical_json(document))
    archive.add(_REPOSITORIES, canonical_json(repositories))
