"""Write image archives from blobs that exist already, and documents whose bytes are kept."""

from __future__ import annotations

from nixdock.errors import ImageError
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.descriptor import Platform, canonical_json
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.layout import DOCKER_MANIFEST, LAYOUT_DIRECTORIES
from nixdock.oci.platforms import best_fitting
from nixdock.read.opening import read_images
from nixdock.read.stored import StoredImage
from nixdock.system.buffers import Write
from nixdock.transfer.file_content import FileContent, blob_name
from nixdock.transfer.names import docker_names
from nixdock.write.docker_archive import DOCKER_READS
from nixdock.write.member import ArchiveWriter

__all__ = ["write_docker_archive", "write_oci_archive"]


def write_oci_archive(write: Write, content: FileContent, *, docker: bool, mtime: int) -> None:
    """Write a layout in a tar; `docker` makes it a docker-archive too.

    Docker knows one image of an index: that for linux/amd64, or the first. Raise ImageError if
    there is none.
    """
    archive = ArchiveWriter(write, mtime)
    # skopeo unpacks the archive, and can't create missing directories unless it runs as root.
    for directory in LAYOUT_DIRECTORIES:
        archive.add_directory(directory)
    documents = content.documents()
    first = [name for name in documents if "/" not in name]
    for name in first:
        archive.add(name, documents[name])
    if docker:
        archive.add(DOCKER_MANIFEST, _docker_manifest(content))
    for name in documents:
        if name not in first:
            archive.add(name, documents[name])
    for name, file in content.blobs().items():
        archive.add_file(name, file, file.stat().st_size)
    archive.finish()


def _docker_manifest(content: FileContent) -> bytes:
    image = _image(content)
    layers = [layer.name for layer in image.layers]
    return _docker_list(content, blob_name(image.config_digest), layers)


def write_docker_archive(write: Write, content: FileContent, *, mtime: int) -> None:
    """Write a docker-archive: the config keeps its bytes, but there is no manifest.

    Layers that not every reader of docker-archives can decompress are decompressed. Raise
    ImageError if a layer does not have the diff_id that the config states.
    """
    image = _image(content)
    archive = ArchiveWriter(write, mtime)
    paths = []
    for i, layer in enumerate(image.layers):
        paths.append(f"{i:03d}/layer.tar")
        sized = PassedOnLayer.of(layer).sized(DOCKER_READS)
        with archive.member(paths[-1], sized.size) as write_member:
            hashing = Hashing(write_member)
            sized.write_to(hashing.write)
        sized.described(hashing.digest)
    config_path = f"{hex_of(image.config_digest)}.json"
    archive.add(config_path, image.config_data)
    archive.add(DOCKER_MANIFEST, _docker_list(content, config_path, paths))
    archive.finish()


def _docker_list(content: FileContent, config_path: str, layer_paths: list[str]) -> bytes:
    entry = {
        "Config": config_path,
        "RepoTags": docker_names(content.names) or None,
        "Layers": layer_paths,
    }
    return canonical_json([entry])


def _image(content: FileContent) -> StoredImage:
    """Return the image that Docker sees; raise ImageError if there is none."""
    images = read_images(content.members(), "the image").without_path().images
    if not images:
        raise ImageError(f"{content.root.digest} has no image for a docker-archive")
    fitting = best_fitting([(image.platform, image) for image in images], Platform())
    return fitting[0][1] if fitting else images[0]
