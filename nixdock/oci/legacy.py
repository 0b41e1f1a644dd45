"""The documents of Docker images before `manifest.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import hex_of, sha256_digest

__all__ = ["LEGACY_VERSION", "REPOSITORIES", "legacy_documents", "legacy_ids"]


LEGACY_VERSION: Final = b"1.0"
"""The contents of each layer's `VERSION`."""

REPOSITORIES: Final = "repositories"
"""The file that leads from names and tags to layers."""


def legacy_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the ID of each layer: it names the layer and all below it."""
    ids: list[str] = []
    chain = ""
    for diff_id in diff_ids:
        # The chain ID of the image-spec (config.md, layer chain ID), of which Docker makes IDs.
        chain = sha256_digest(f"{chain} {diff_id}".encode()) if chain else diff_id
        document = {"layer_id": chain, **({"parent": ids[-1]} if ids else {})}
        ids.append(hex_of(sha256_digest(canonical_json(document))))
    return ids


def legacy_documents(
    ids: Sequence[str], config: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """Return each layer's `json`; the topmost one says how to run the image."""
    documents: dict[str, dict[str, Any]] = {
        name: {"id": name, "created": config.get("created"), "os": config.get("os")} for name in ids
    }
    for parent, child in pairwise(ids):
        documents[child]["parent"] = parent
    if ids:
        top = documents[ids[-1]]
        top["architecture"] = config.get("architecture")
        top["config"] = config.get("config") or {}
    return documents
