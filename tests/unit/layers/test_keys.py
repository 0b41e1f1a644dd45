from __future__ import annotations

import pytest

from nixdock.layers.compression import COMPRESSIONS, Compression
from nixdock.layers.compressors import encoder_name
from nixdock.layers.keys import blob_key, combined_key, tar_key

KEY = "sha256:" + "1" * 64
DIFF_ID = "sha256:" + "2" * 64


def test_keys_never_change() -> None:
    """Registries have manifests with them: another key means that a layer is packed anew."""
    assert blob_key(KEY, Compression.NONE) == (
        "sha256:ddd560b0821ea3cf5db08fc6e88763b859f96f5ff831d2668a2732edeff4b4d2"
    )
    assert blob_key(KEY, Compression.GZIP) == (
        "sha256:8e3c4e9ffcf9142051b05bc26c80b0d89f5e0877ddccedc39a05fd5d966639b7"
    )
    assert blob_key(KEY, Compression.ZSTD) == (
        "sha256:df097ea944c0984caf05c65760a5f868dc9de24c5b9b9b70b214fd366a72d800"
    )
    assert blob_key(KEY, Compression.ZSTD_CHUNKED) == (
        "sha256:2ad7097c649912014b41e395041b22db092152d9141f04a87e12ed2d5b2ca2cd"
    )
    assert blob_key(KEY, Compression.ESTARGZ) == (
        "sha256:dd054b1bca9962b9dbb25b8f7b19456b3b320815f443bbaeca43784209ba7960"
    )
    assert tar_key(DIFF_ID) == (
        "sha256:ab1af488f2c6304c5e27205e2d0df5bc69541eea929a6b89c5525f28d278822a"
    )


def test_what_differs_has_another_key() -> None:
    texts = ("gzip:1", "gzip:12", "zstd:1", "zstd:3,long", "zstd:4,long")
    more = ("zstd:chunked:1", "estargz:1")
    compressions = [*COMPRESSIONS, *map(Compression.of, texts + more)]
    keys = [blob_key(key, each) for key in (KEY, tar_key(DIFF_ID)) for each in compressions]
    assert len(set(keys)) == len(keys)
    assert combined_key(KEY, DIFF_ID) != combined_key(DIFF_ID, KEY)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_layer_without_a_key_is_named_by_its_tar(compression: Compression) -> None:
    assert blob_key(None, compression, DIFF_ID) == blob_key(tar_key(DIFF_ID), compression)


def test_another_encoder_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoder_name(Compression.GZIP)
    level = Compression.GZIP.level
    monkeypatch.setattr("nixdock.layers.compressors.SAMPLE_DIGESTS", {level: "0" * 64})
    assert encoder_name(Compression.GZIP) != before
