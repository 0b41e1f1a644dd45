"""Store paths and hashes: which texts are valid, and every notation of a hash."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError
from nixdock.nix.hashes import Hash, base32_decode, base32_encode
from nixdock.nix.store_path import StorePath

CODE = "0123456789abcdfghijklmnpqrsvwxyz"
GOOD = f"/nix/store/{CODE}-hello-2.12"
EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def test_parts_of_a_path() -> None:
    path = StorePath.parse(GOOD)
    assert (path.store_dir, path.hash_part, path.name) == ("/nix/store", CODE, "hello-2.12")
    assert path.base_name == f"{CODE}-hello-2.12"
    assert path == GOOD


@pytest.mark.parametrize("name", ["a", ".hidden", "x" * 211, "a+b-c.d_e?f=g", "-dash"])
def test_names(name: str) -> None:
    assert StorePath.parse(f"/nix/store/{CODE}-{name}").name == name


def test_any_store_directory() -> None:
    assert StorePath.parse(f"/home/me/store/{CODE}-x").store_dir == "/home/me/store"
    assert StorePath.parse(f"/..hidden/.store/{CODE}-x").store_dir == "/..hidden/.store"
    assert StorePath.parse(f"/store/{CODE}-x").store_dir == "/store"
    assert StorePath.parse(GOOD, "/nix/store") == GOOD
    with pytest.raises(InputError, match="is not in the store '/gnu/store'"):
        StorePath.parse(GOOD, "/gnu/store")


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "/nix/store",
        CODE,
        f"{CODE}-relative",
        f"/nix/store/{CODE}",
        f"/nix/store/{CODE}-",
        f"/nix/store/{CODE[:-1]}-short",
        f"/nix/store/{CODE[:-1]}e-not-base32",
        f"/nix/store/{CODE.upper()}-upper",
        f"{GOOD}\n",
        f"{GOOD}/bin",
        f"{GOOD}\0",
        f"/nix/store/{CODE}-x y",
        f"/nix/store/{CODE}-é",
        f"/nix/store/{CODE}-{'x' * 212}",
        f"/nix/store/{CODE}-.",
        f"/nix/store/{CODE}-..",
        f"/nix/store/../store/{CODE}-x/..",
        f"/{CODE}-x",
        f"//{CODE}-x",
        f"/nix\n/store/{CODE}-x",
        f"/nix/store\0/{CODE}-x",
        f"/nix/store//{CODE}-x",
        f"/nix//store/{CODE}-x",
        f"//nix/store/{CODE}-x",
        f"/../nix/store/{CODE}-x",
        f"/nix/../store/{CODE}-x",
        f"/nix/./store/{CODE}-x",
        f"/nix/store/../{CODE}-x",
        f"/nix/store/.//{CODE}-x",
        f" {GOOD}",
        GOOD.encode(),
        f"/nix/store/{CODE[:-1]}\u0660-x",
    ],
)
def test_invalid_store_paths(text: object) -> None:
    with pytest.raises(InputError, match="is not a store path"):
        StorePath.parse(text)


def test_known_hash_in_every_notation() -> None:
    texts = (
        "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
        f"sha256:{EMPTY.hex()}",
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    )
    for text in texts:
        assert Hash.parse(text) == Hash("sha256", EMPTY)
    value = Hash("sha256", EMPTY)
    assert (f"sha256:{value.base32}", f"sha256:{value.base16}", value.sri) == texts
    assert str(value) == value.sri
    assert Hash.parse(EMPTY.hex(), "sha256") == value


@given(st.sampled_from([("md5", 16), ("sha1", 20), ("sha256", 32), ("sha512", 64)]), st.data())
def test_notations_read_back(kind: tuple[str, int], data: st.DataObject) -> None:
    algorithm, size = kind
    value = Hash(algorithm, data.draw(st.binary(min_size=size, max_size=size)))
    assert Hash.parse(value.sri) == value
    assert Hash.parse(f"{algorithm}:{value.base32}") == value
    assert Hash.parse(f"{algorithm}:{value.base16}") == value
    assert Hash.parse(f"{algorithm}:{value.sri.partition('-')[2]}") == value
    assert base32_decode(base32_encode(value.digest), size) == value.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a hash"),
        ("abc", "is not a hash"),
        ("abc-def", "is not a hash"),
        ("sha256", "is not a hash"),
        ("sha3:abc", "unknown hash algorithm 'sha3'"),
        ("sha256:abc", "is not a valid sha256 hash"),
        ("sha256:" + "e" * 52, "is not a character of Nix's base32"),
        ("sha256:" + "z" * 52, "encodes more than 32 bytes"),
        ("sha256:" + "g" * 64, "is not a valid sha256 hash"),
        ("sha256-AAAA", "encodes 3 bytes, but a sha256 digest has 32"),
        ("sha256:" + "0" * 51, "has 51 characters, not 52"),
        ("sha256:" + "0" * 53, "has 53 characters, not 52"),
        ("sha256:" + "0" * 63, "is not a valid sha256 hash"),
        ("sha256:" + "00 " * 21 + "0", "is not a valid sha256 hash"),
        ("sha256:" + "\u0660" * 64, "is not a valid sha256 hash"),
        ("sha256:", "is not a valid sha256 hash"),
        ("sha256-", "encodes 0 bytes"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "is not a valid sha256 hash"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "is not a valid sha256 hash"),
        ("sha512:" + "0" * 64, "is not a valid sha512 hash"),
        (":abc", "unknown hash algorithm ''"),
        ("SHA256:" + "0" * 64, "unknown hash algorithm 'SHA256'"),
        ("sha256-!!!!", "is not a valid sha256 hash"),
    ],
)
def test_invalid_hashes(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hash.parse(text)


def test_bare_digits_need_an_algorithm() -> None:
    sha1 = hashlib.sha1(b"").digest()
    assert Hash.parse(base32_encode(sha1), "sha1") == Hash("sha1", sha1)
    with pytest.raises(InputError, match="is not a hash: expected ALGORITHM:DIGEST or SRI"):
        Hash.parse(EMPTY.hex())
    with pytest.raises(InputError, match="unknown hash algorithm 'sha3'"):
        Hash.parse(EMPTY.hex(), "sha3")


@given(st.text(), st.sampled_from([None, "sha256"]))
def test_any_text_is_a_hash_or_raises_input_error(text: str, algorithm: str | None) -> None:
    with suppress(InputError):
        value = Hash.parse(text, algorithm)
        assert Hash.parse(value.sri) == value


@given(st.one_of(st.text(), st.text("/.\n\0ax-", max_size=12)), st.booleans())
def test_any_text_is_a_plain_path_or_raises_input_error(text: str, complete: bool) -> None:
    with suppress(InputError):
        path = StorePath.parse(f"{text}/{CODE}-x" if complete else text)
        first, *parts = path.split("/")
        assert first == ""
        assert not {"", ".", ".."} & set(parts)
        assert not set("\0\n") & set(path)


NAMES = st.text(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=", min_size=1, max_size=211
).filter(lambda name: name not in {".", ".."})


@given(st.binary(min_size=20, max_size=20), NAMES)
def test_every_hash_and_name_make_a_path(digest: bytes, name: str) -> None:
    path = StorePath.parse(f"/nix/store/{base32_encode(digest)}-{name}")
    assert base32_decode(path.hash_part, 20) == digest
    assert path.name == name
    assert f"{path.store_dir}/{path.base_name}" == path
