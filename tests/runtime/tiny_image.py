"""The smallest image that can say hello, made with nothing of ours."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .command import require_tool

REPOSITORY = "tiny"
TAG = "v1"


@dataclass(frozen=True)
class TinyImage:
    """BusyBox and nothing else: an OCI layout, and an archive that Docker reads too."""

    archive: Path
    layout: Path
    tag: str
    reference: str
    manifest_digest: str
    config_digest: str
    layer_digest: str
    diff_id: str


def tiny_image(directory: Path, architecture: str | None = None) -> TinyImage:
    """Make one in an empty directory; `architecture` changes what its config says, and no more."""
    layer = _layer(Path(require_tool("busybox")).read_bytes())
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    reference = f"{REPOSITORY}:{TAG}"
    machine = os.uname().machine
    own = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    config = _json(
        {
            "architecture": architecture or own,
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "echo", "hello"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": [_descriptor("layer.v1.tar+gzip", packed)],
        }
    )
    names = {
        "org.opencontainers.image.ref.name": TAG,
        "io.containerd.image.name": f"docker.io/library/{reference}",
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**_descriptor("manifest.v1+json", manifest), "annotations": names}],
    }
    docker = [{"Config": _blob(config), "RepoTags": [reference], "Layers": [_blob(packed)]}]
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json(docker),
        **{_blob(data): data for data in (config, manifest, packed)},
    }
    layout, archive = directory / "layout", directory / "tiny.tar"
    _write_directory(layout, files)
    archive.write_bytes(_tar({name: (data, 0o644) for name, data in files.items()}))
    return TinyImage(
        archive=archive,
        layout=layout,
        tag=TAG,
        reference=reference,
        manifest_digest=_digest(manifest),
        config_digest=_digest(config),
        layer_digest=_digest(packed),
        diff_id=_digest(layer),
    )


def _layer(busybox: bytes) -> bytes:
    return _tar({"bin/busybox": (busybox, 0o755)}, parents=["./", "bin/"])


def _tar(files: Mapping[str, tuple[bytes, int]], parents: list[str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in parents or []:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, (data, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _write_directory(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": _digest(data),
        "size": len(data),
    }
