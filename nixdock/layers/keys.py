"""Keys: names of layers and blobs that are known before a single byte of them is.

A layer's key is a digest of everything that determines its tar. With the compression and its
encoder, it determines the blob: `blob_key` names that one.
"""

from __future__ import annotations

from typing import Final

from nixdock.layers.compression import Compression
from nixdock.layers.compressors import encoder_name
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import sha256_digest

__all__ = ["blob_key", "combined_key", "tar_key"]

_VERSION: Final = 1


def blob_key(layer_key: str | None, compression: Compression, diff_id: str = "") -> str:
    """Return the key of the blob that a layer with `layer_key` has with `compression`.

    If the layer has no key, because it is not a function of anything smaller, its `diff_id` is in
    place of one.
    """
    return sha256_digest(
        canonical_json(
            {
                "version": _VERSION,
                "layer": tar_key(diff_id) if layer_key is None else layer_key,
                "encoder": encoder_name(compression),
            }
        )
    )


def tar_key(diff_id: str) -> str:
    """Return the key of a layer of which only the digest of its tar is known."""
    return sha256_digest(canonical_json({"version": _VERSION, "tar": diff_id}))


def combined_key(*keys: str) -> str:
    """Return the key of a layer whose tar is made from those of other layers."""
    return sha256_digest(canonical_json({"version": _VERSION, "layers": keys}))
