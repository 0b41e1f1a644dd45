"""Putting images into the fake registry, from an OCI layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .fake_registry import FakeRegistry

__all__ = ["fill", "fill_index"]

INDEX = "application/vnd.oci.image.index.v1+json"


def fill(fake: FakeRegistry, repository: str, layout: Path, tag: str = "") -> str:
    """Store the first image of a layout, also as `tag`, and return its digest."""
    index = json.loads((layout / "index.json").read_bytes())
    data = _blob(layout, index["manifests"][0]["digest"])
    manifest = json.loads(data)
    for blob in (manifest["config"], *manifest["layers"]):
        fake.add_blob(repository, _blob(layout, blob["digest"]))
    digest = fake.add_manifest(repository, manifest, tag)
    # The fake writes the document anew: its bytes must be those of the layout.
    assert digest == index["manifests"][0]["digest"]
    return digest


def fill_index(fake: FakeRegistry, repository: str, tag: str, images: dict[str, Path]) -> str:
    """Store an index of the images in layouts, by their architecture, and return its digest."""
    manifests: list[dict[str, Any]] = []
    for architecture, layout in images.items():
        digest = fill(fake, repository, layout)
        stored = fake.manifests[repository][digest]
        manifests.append(
            {
                "mediaType": stored.media_type,
                "digest": digest,
                "size": len(stored.data),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return fake.add_manifest(repository, document, tag)


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
