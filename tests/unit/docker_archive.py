"""Small docker-archives made by tarfile, for tests of what reads them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

File = tuple[str, str] | tarfile.TarInfo


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def directory(name: str, **fields: object) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE, **fields)


def link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def layer(*files: File) -> bytes:
    """A tar of empty files and of (name, text) pairs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file in files:
            if isinstance(file, tuple):
                info = entry(file[0], size=len(file[1]))
                tar.addfile(info, io.BytesIO(file[1].encode()))
            else:
                tar.addfile(file)
    return out.getvalue()


def archive(
    path: Path,
    layers: Sequence[bytes],
    compress: bool = False,
    names: Sequence[str] = ("x:y",),
    **config_keys: object,
) -> Path:
    """A docker-archive of those layers."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        **config_keys,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{sha256(data).hexdigest()}" for data in layers],
        },
    }
    layer_names = [f"{i}/layer.tar" for i in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": names, "Layers": layer_names}]
    with tarfile.open(path, "w") as tar:
        blobs = [gzip.compress(data) if compress else data for data in layers]
        files = [
            ("config.json", json.dumps(config).encode()),
            *zip(layer_names, blobs, strict=True),
        ]
        files.append(("manifest.json", json.dumps(manifest).encode()))
        for name, data in files:
            tar.addfile(entry(name, size=len(data)), io.BytesIO(data))
    return path
