"""Small images, as a registry has them."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..registry.fake_registry import FakeRegistry, Stored, digest_of

OCI = "application/vnd.oci.image"
INDEX = f"{OCI}.index.v1+json"
MANIFEST = f"{OCI}.manifest.v1+json"


def tar_of(name: str, size: int = 1000) -> bytes:
    """Return a tar with a file whose bytes do not compress."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BytesIO(random.Random(name).randbytes(size)))
    return stream.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@dataclass(frozen=True)
class Sample:
    """An image: its documents, and its layers bottom to top."""

    config: bytes
    manifest: bytes
    layers: Sequence[bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def blobs(self) -> Mapping[str, bytes]:
        return {digest_of(data): data for data in (*self.layers, self.config)}

    def descriptor(self, platform: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
        found = {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest)}
        return found | ({"platform": platform} if platform else {}) | more


def sample(*names: str, size: int = 1000, architecture: str = "amd64", **changes: Any) -> Sample:
    """Return an image with a layer for each name; `changes` are keys of its manifest."""
    tars = [tar_of(name, size) for name in names]
    layers = [gzipped(tar) for tar in tars]
    config = orjson.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(f"{OCI}.config.v1+json", config),
        "layers": [_descriptor(f"{OCI}.layer.v1.tar+gzip", layer) for layer in layers],
    }
    # Not canonical: a copy has to keep the bytes.
    return Sample(config, orjson.dumps(document | changes, option=orjson.OPT_INDENT_2), layers)


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def attestation(image: Sample) -> Sample:
    """Return what BuildKit attaches to an image: a statement in place of a layer."""
    statement = orjson.dumps({"subject": image.digest})
    config = orjson.dumps(
        {
            "architecture": "unknown",
            "os": "unknown",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]},
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(f"{OCI}.config.v1+json", config),
        "layers": [_descriptor("application/vnd.in-toto+json", statement)],
    }
    return Sample(config, orjson.dumps(document), [statement])


def store(registry: FakeRegistry, repository: str, image: Sample, tag: str = "") -> str:
    """Put an image into a registry, and return its digest."""
    for data in image.blobs.values():
        registry.add_blob(repository, data)
    stored = Stored(MANIFEST, image.manifest)
    registry.manifests.setdefault(repository, {})[image.digest] = stored
    if tag:
        registry.tags.setdefault(repository, {})[tag] = image.digest
    return image.digest


@dataclass(frozen=True)
class Platforms:
    """An index of images for amd64 and arm64, with an attestation for the first."""

    amd64: Sample = field(default_factory=lambda: sample("base", "amd"))
    arm64: Sample = field(default_factory=lambda: sample("base", "arm", architecture="arm64"))

    @property
    def attestation(self) -> Sample:
        return attestation(self.amd64)

    @property
    def index(self) -> dict[str, Any]:
        about = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": self.amd64.digest,
        }
        unknown = {"architecture": "unknown", "os": "unknown"}
        return {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                self.amd64.descriptor({"architecture": "amd64", "os": "linux"}),
                self.arm64.descriptor({"architecture": "arm64", "os": "linux"}),
                self.attestation.descriptor(unknown, annotations=about),
            ],
        }

    def store(self, registry: FakeRegistry, repository: str, tag: str) -> str:
        for image in (self.amd64, self.arm64, self.attestation):
            store(registry, repository, image)
        return registry.add_manifest(repository, self.index, tag)


def layout_blobs(directory: Path) -> dict[str, bytes]:
    """Return the blobs of a layout by their digests."""
    files = (directory / "blobs" / "sha256").iterdir()
    return {f"sha256:{file.name}": file.read_bytes() for file in files}


def archive_files(file: Path) -> dict[str, bytes]:
    """Return the files in a tar by their names."""
    with tarfile.open(file) as tar:
        return {
            member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.isfile()
        }
