from __future__ import annotations

import pytest

from nixdock.layers.compressors import Compression, encoder_name
from nixdock.layers.keys import blob_key, combined_key, tar_key

KEY = "sha256:" + "1" * 64
DIFF_ID = "sha256:" + "2" * 64


def test_keys_never_change() -> None:
    """Registries have manifests with them: another key means that a layer is packed anew."""
    assert blob_key(KEY, Compression.NONE) == (
        "sha256:ddd560b0821ea3cf5db08fc6e88763b859f96f5ff831d2668a2732edeff4b4d2"
    )
    assert blob_key(KEY, Compression.GZIP) == (
        "sha256:6410223674dcdf6edf02c2e9262e3680f0960832c8d8d36ab95165080e4e5294"
    )
    assert blob_key(KEY, Compression.ZSTD) == (
        "sha256:23136b1f86eedccc663dd2533ed601824d75d547f9bbea733e52440139e2414c"
    )
    assert tar_key(DIFF_ID) == (
        "sha256:ab1af488f2c6304c5e27205e2d0df5bc69541eea929a6b89c5525f28d278822a"
    )


def test_what_differs_has_another_key() -> None:
    keys = [blob_key(key, each) for key in (KEY, tar_key(DIFF_ID)) for each in Compression]
    assert len(set(keys)) == len(keys)
    assert combined_key(KEY, DIFF_ID) != combined_key(DIFF_ID, KEY)


@pytest.mark.parametrize("compression", list(Compression))
def test_a_layer_without_a_key_is_named_by_its_tar(compression: Compression) -> None:
    assert blob_key(None, compression, DIFF_ID) == blob_key(tar_key(DIFF_ID), compression)


def test_another_encoder_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoder_name(Compression.GZIP)
    monkeypatch.setattr("nixdock.layers.compressors.GZIP_SAMPLE_DIGEST", "0" * 64)
    assert encoder_name(Compression.GZIP) != before
