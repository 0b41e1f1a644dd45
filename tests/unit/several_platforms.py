"""OCI layouts with images for several platforms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path


def with_platforms(images: Sequence[Path], target: Path) -> tuple[Path, list[str]]:
    """Write a layout with an index of the only images of layouts; return their digests, too."""
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)
    (target / "oci-layout").write_bytes((images[0] / "oci-layout").read_bytes())
    manifests = []
    for image in images:
        for blob in (image / "blobs/sha256").iterdir():
            (blobs / blob.name).write_bytes(blob.read_bytes())
        manifests += json.loads((image / "index.json").read_text())["manifests"]
    inner = {"schemaVersion": 2, "manifests": manifests}
    kind = "application/vnd.oci.image.index.v1+json"
    data = json.dumps(inner | {"mediaType": kind}).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    outer = [{"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}]
    (target / "index.json").write_text(json.dumps(inner | {"manifests": outer}))
    return target, [entry["digest"] for entry in manifests]
