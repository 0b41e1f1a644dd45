"""Which blobs are taken over for a layer that is known by its key, and with which annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from nixdock.coding.codings import Coding
from nixdock.layers.compression import COMPRESSIONS, Compression
from nixdock.layers.compressors import annotations_of, media_type_of
from nixdock.layers.known import key_of, known_blob
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.oci.layer_blob import LayerBlob, LayerHistory

from .blobs import HISTORY, MemoryBlob

TAR, OTHER, BLOB = (f"sha256:{digit * 64}" for digit in "123")
LAYER = TarLayer(Path("layer.tar"), TAR, HISTORY)


def found(
    compression: Compression, annotations: Mapping[str, str], diff_id: str = TAR
) -> LayerBlob | None:
    key = key_of(LAYER, compression)
    assert key is not None
    history = LayerHistory("someone else", "")
    blob = LayerBlob(
        diff_id, BLOB, 7, media_type_of(compression), history, key, annotations=annotations
    )
    return known_blob(LAYER, compression, {key: blob})


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
def test_a_blob_has_the_annotations_of_its_compression(compression: Compression) -> None:
    own = dict.fromkeys(annotations_of(compression), "said by a manifest")
    blob = found(compression, own)
    assert blob is not None
    assert (blob.digest, blob.history, blob.annotations) == (BLOB, HISTORY, own)
    for other in COMPRESSIONS:
        if annotations_of(other) != annotations_of(compression):
            assert found(compression, dict.fromkeys(annotations_of(other), "x")) is None


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
def test_only_estargz_has_another_tar(compression: Compression) -> None:
    own = dict.fromkeys(annotations_of(compression), "said by a manifest")
    blob = found(compression, own, diff_id=OTHER)
    assert (blob is not None) == (compression == Compression.ESTARGZ)


def test_an_existing_layer_keeps_its_own_annotations() -> None:
    """Another image may say of the same blob what it likes."""
    existing = MemoryBlob.of(b"", Coding.ZSTD)
    existing.annotations = {"its": "own"}
    layer = PassedOnLayer.of(existing)
    name = existing.declared_digest
    assert name is not None
    media_type = media_type_of(Compression.ZSTD)
    other = LayerBlob(
        existing.diff_id, name, existing.size, media_type, HISTORY, annotations={"a": "b"}
    )
    blob = known_blob(layer, Compression.GZIP, {name: other})
    assert blob is not None
    assert blob.annotations == {"its": "own"}
    assert blob == layer.existing_blob() == layer.pack(None)
    assert layer.sized(()).described(existing.diff_id).annotations == {}
