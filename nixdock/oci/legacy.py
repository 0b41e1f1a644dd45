"""The documents of Docker's legacy image format, which is older than `manifest.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import chain_ids, hex_of, sha256_digest

__all__ = ["LEGACY_VERSION", "REPOSITORIES", "legacy_documents", "legacy_ids"]

LEGACY_VERSION: Final = b"1.0"
"""The contents of each layer's `VERSION`."""

REPOSITORIES: Final = "repositories"
"""The file that maps repositories and tags to the IDs of top layers."""


def legacy_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the ID of each layer, which identifies the layer together with all below it."""
    ids: list[str] = []
    # Docker derives the ID from the layer's chain ID.
    for chain in chain_ids(diff_ids):
        document = {"layer_id": chain, **({"parent": ids[-1]} if ids else {})}
        ids.append(hex_of(sha256_digest(canonical_json(document))))
    return ids


def legacy_documents(
    ids: Sequence[str], config: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """Return the `json` document of each layer by ID; that of the top layer has the config."""
    documents: dict[str, dict[str, Any]] = {
        layer_id: {"id": layer_id, "created": config.get("created"), "os": config.get("os")}
        for layer_id in ids
    }
    for parent, child in pairwise(ids):
        documents[child]["parent"] = parent
    if ids:
        top = documents[ids[-1]]
        top["architecture"] = config.get("architecture")
        top["config"] = config.get("config") or {}
    return documents
