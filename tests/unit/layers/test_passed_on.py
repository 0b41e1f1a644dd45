"""Existing layers in other images: the same bytes, and an error if they are not."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from nixdock.coding.codings import Coding
from nixdock.errors import ImageError
from nixdock.layers.compression import Compression
from nixdock.layers.layer import Packing
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.media_types import LAYER_MEDIA_TYPE, layer_media_type
from tests.unit.layers.blobs import HISTORY, MemoryBlob, digest

# More than the pieces in which it is read, and no two of them equal.
TAR = random.Random(1).randbytes(700_000)
CODINGS = [Coding.NONE, Coding.GZIP, Coding.ZSTD]
COMPRESSED = [Coding.GZIP, Coding.ZSTD]

Copy = Callable[[PassedOnLayer], LayerBlob]


def packed(layer: PassedOnLayer) -> LayerBlob:
    return layer.pack(None)


def copied(layer: PassedOnLayer) -> LayerBlob:
    """Write the blob as it is, as into an archive whose reader takes its media type."""
    return written(layer, [layer_media_type(Coding(coding)) for coding in CODINGS])


def expanded(layer: PassedOnLayer) -> LayerBlob:
    """Write the uncompressed tar, as into an archive whose reader takes nothing else."""
    return written(layer, [])


def written(layer: PassedOnLayer, media_types: list[str]) -> LayerBlob:
    sized = layer.sized(media_types)
    out = io.BytesIO()
    sized.write_to(out.write)
    return sized.described(digest(out.getvalue()))


def error_of(blob: MemoryBlob, copy: Copy) -> ImageError:
    with pytest.raises(ImageError) as caught:
        copy(PassedOnLayer.of(blob))
    assert str(caught.value).startswith(f"{blob.subject}")
    assert caught.value.place == blob.subject
    return caught.value


@pytest.mark.parametrize("coding", CODINGS)
def test_a_blob_is_packed_as_it_is(coding: Coding) -> None:
    blob = MemoryBlob.of(TAR, coding)
    layer = PassedOnLayer.of(blob)
    assert (layer.diff_id, layer.weight, layer.history) == (digest(TAR), len(blob.data), HISTORY)
    assert blob.opened == 0
    expected = LayerBlob(
        diff_id=digest(TAR),
        digest=digest(blob.data),
        size=len(blob.data),
        media_type=layer_media_type(coding),
        history=HISTORY,
    )
    chunks: list[bytes | memoryview] = []
    assert layer.pack(chunks.append, Packing(Compression.ZSTD, 3, hash_aside=True)) == expected
    assert b"".join(chunks) == blob.data, "chunks that are kept keep their bytes"
    assert layer.pack(None) == expected
    assert blob.opened == 2


@pytest.mark.parametrize("coding", CODINGS)
def test_a_blob_of_an_accepted_type_keeps_its_bytes(coding: Coding) -> None:
    blob = MemoryBlob.of(TAR, coding)
    layer = PassedOnLayer.of(blob)
    sized = layer.sized({layer_media_type(coding)})
    assert (sized.size, blob.opened) == (len(blob.data), 0), "the size is known before the bytes"
    out = io.BytesIO()
    sized.write_to(out.write)
    assert out.getvalue() == blob.data
    assert sized.described(digest(blob.data)) == layer.pack(None)


@pytest.mark.parametrize("coding", CODINGS)
def test_other_blobs_are_expanded(coding: Coding) -> None:
    blob = MemoryBlob.of(TAR, coding)
    sized = PassedOnLayer.of(blob).sized(())
    assert sized.size == len(TAR)
    out = io.BytesIO()
    sized.write_to(out.write)
    assert out.getvalue() == TAR
    assert sized.described(digest(TAR)) == LayerBlob(
        digest(TAR), digest(TAR), len(TAR), LAYER_MEDIA_TYPE, HISTORY
    )


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("copy", [packed, copied, expanded])
def test_a_digest_need_not_be_declared(coding: Coding, copy: Copy) -> None:
    blob = MemoryBlob.of(TAR, coding)
    undeclared = replace(blob, declared_digest=None)
    assert copy(PassedOnLayer.of(undeclared)) == copy(PassedOnLayer.of(blob))


def test_a_wrong_media_type() -> None:
    blob = replace(MemoryBlob.of(TAR), wrong_media_type="the media type is wrong")
    with pytest.raises(ImageError, match=r"^layer 7 of a test: the media type is wrong$") as caught:
        PassedOnLayer.of(blob)
    assert caught.value.place == blob.subject
    assert blob.opened == 0


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("copy", [packed, copied])
def test_a_wrong_size(coding: Coding, difference: int, copy: Copy) -> None:
    blob = MemoryBlob.of(TAR, coding)
    blob.size += difference
    error = error_of(blob, copy)
    assert f"has {len(blob.data)} bytes, but should have {blob.size}" in str(error)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("copy", [packed, copied])
def test_a_wrong_digest(coding: Coding, copy: Copy) -> None:
    blob = replace(MemoryBlob.of(TAR, coding), declared_digest=digest(b""))
    error = error_of(blob, copy)
    assert f"is damaged: its digest is {digest(blob.data)}, not {digest(b'')}" in str(error)
    assert error.digest == digest(blob.data)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("copy", [packed, copied])
@pytest.mark.parametrize("declared", [True, False])
def test_a_wrong_diff_id(coding: Coding, copy: Copy, declared: bool) -> None:
    blob = replace(MemoryBlob.of(TAR, coding), diff_id=digest(b""))
    if not declared:
        blob.declared_digest = None
    error = error_of(blob, copy)
    expected = f"the layer's diff_id is {digest(b'')}, but its digest is {digest(TAR)} when"
    assert expected in str(error)
    assert error.digest == digest(TAR)


@pytest.mark.parametrize("coding", COMPRESSED)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 1}, "has more than the 1 bytes"),
        ({"size": 1 << 30}, f"but should have {1 << 30}"),
        ({"declared_digest": digest(b"")}, "is damaged"),
        ({"diff_id": digest(b"")}, "uncompressed, is damaged"),
    ],
)
def test_damage_is_found_before_a_blob_is_expanded(
    coding: Coding, changes: dict[str, object], message: str
) -> None:
    blob = MemoryBlob.of(TAR, coding)
    for name, value in changes.items():
        setattr(blob, name, value)
    with pytest.raises(ImageError, match=message) as caught:
        PassedOnLayer.of(blob).sized(())
    assert caught.value.place == blob.subject


@pytest.mark.parametrize("coding", COMPRESSED)
def test_a_blob_that_changes_after_its_size_was_found(coding: Coding) -> None:
    blob = MemoryBlob.of(TAR, coding)
    sized = PassedOnLayer.of(blob).sized(())
    other = TAR[:-1] + b"x"
    blob.data = MemoryBlob.of(other, coding).data
    out = io.BytesIO()
    sized.write_to(out.write)
    with pytest.raises(ImageError, match="the layer's diff_id is"):
        sized.described(digest(out.getvalue()))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("copy", [packed, copied, expanded])
def test_surplus_bytes_behind_a_blob(coding: Coding, copy: Copy) -> None:
    """Declared or not, whether they are zeros or another stream of the same kind."""
    surplus = [b"x", bytes(512), MemoryBlob.of(b"more", coding).data]
    for data in surplus:
        if coding is Coding.GZIP and not any(data):
            # As padding, zeros are ignored.
            continue
        blob = MemoryBlob.of(TAR, coding)
        blob.data += data
        error_of(blob, copy)
        blob.size, blob.declared_digest = len(blob.data), digest(blob.data)
        error_of(blob, copy)


@pytest.mark.parametrize("coding", COMPRESSED)
@pytest.mark.parametrize("copy", [packed, copied, expanded])
def test_a_truncated_blob(coding: Coding, copy: Copy) -> None:
    whole = MemoryBlob.of(TAR, coding)
    data = whole.data[:-1]
    blob = replace(whole, data=data, size=len(data), declared_digest=digest(data))
    assert f"the {coding} data is truncated" in str(error_of(blob, copy))
