"""Digests: their grammar, and hashing of streams."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.oci.digests import Hashing, check_digest, hex_of, sha256_digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_known_digests() -> None:
    assert sha256_digest(b"") == EMPTY
    # FIPS 180-2, B.1.
    abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_digest(b"abc") == abc


def test_hexadecimal_part() -> None:
    assert hex_of(EMPTY) == EMPTY[7:]


def test_a_valid_digest_is_returned() -> None:
    assert check_digest(EMPTY) == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        EMPTY[7:],
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY + "\n",
        EMPTY.upper(),
        EMPTY[:7] + EMPTY[7:].upper(),
        "sha256:../../" + "0" * 58,
        "sha256:" + "g" * 64,
        "sha256:" + "\u0660" * 64,
        "sha512:" + "0" * 128,
        " " + EMPTY,
        None,
        7,
        EMPTY.encode(),
        [EMPTY],
    ],
)
def test_invalid_digests(text: object) -> None:
    with pytest.raises(ImageError, match="is not a digest") as caught:
        check_digest(text)
    assert caught.value.digest == (text if isinstance(text, str) else None)


@given(st.lists(st.binary(max_size=100)))
def test_hashing_counts_and_passes_on(chunks: list[bytes]) -> None:
    out = io.BytesIO()
    hashing = Hashing(out.write)
    silent = Hashing()
    for chunk in chunks:
        hashing.write(memoryview(chunk))
        silent.write(chunk)
    data = b"".join(chunks)
    assert out.getvalue() == data
    for each in (hashing, silent):
        assert each.size == len(data)
        assert each.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_digest_so_far() -> None:
    hashing = Hashing()
    assert hashing.digest == EMPTY
    hashing.write(b"a")
    assert hashing.digest == sha256_digest(b"a")
    hashing.write(b"b")
    assert hashing.digest == sha256_digest(b"ab")
