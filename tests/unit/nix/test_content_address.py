from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.nix.content_address import ContentAddress
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

OTHER = StorePath("/nix/store/00mzihfnfn7zx3faymqgb1vq96f1ys1i-x")

MADE_BY_NIX = [
    (
        "/nix/store/4lwl2xq9b3wvrjxribxp557g56nf14xx-text.txt",
        "text:sha256:1jpnphvdc706n91lh2brb7lnwm7mk6icxmg8rskv67bi3rqld12q",
        ["/nix/store/7zhvfwjnjjnqsmlsx0s63mbsm31m7y6b-other.txt"],
    ),
    (
        "/nix/store/7zhvfwjnjjnqsmlsx0s63mbsm31m7y6b-other.txt",
        "text:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
        [],
    ),
    (
        "/nix/store/7j95gn12awci4w1p8dc7yl4g66sdv6hp-dir",
        "fixed:r:md5:3c2a2c0cz51w22yi8d8igf7fcg",
        [],
    ),
    (
        "/nix/store/ndvf4qkd8czigc9kp3k10w41r104nm0y-dir",
        "fixed:r:sha1:s02jm751jwzq8wdrxvwd2ddlwij9a036",
        [],
    ),
    (
        "/nix/store/i3961bf27mr7n7jagvyyws3g6hcrrzka-dir",
        "fixed:r:sha256:0addczm9fjxkwraq3rf9z66ndy1w8scg7pi05xdyf4rjpl2h73gj",
        [],
    ),
    (
        "/nix/store/gy454w1cxaq731grqwylhzf4pp9r5izh-hello.txt",
        "fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
        [],
    ),
    (
        "/nix/store/svdva85yi507g9vncgsaxvnd1r808h4w-hello.txt",
        "fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm",
        [],
    ),
    (
        "/nix/store/6n8qmk0rigk58v12926r0klsdsryrdm3-libbrotli1-1.0.9-2+deb12u1",
        "fixed:r:sha256:0lg0n3nf3qkkbamnh7cnl5pipb1d168rrcjavzga13s4nil8nbdx",
        [
            "/nix/store/6n8qmk0rigk58v12926r0klsdsryrdm3-libbrotli1-1.0.9-2+deb12u1",
            "/nix/store/kz60cj6gp8jn3zd9giygb3i83aw107pr-libc6-2.36-9+deb12u14",
        ],
    ),
    (
        "/nix/store/yshm6llnida87k47l0i0pyx6ixn4409l-selfref",
        "fixed:r:sha256:1ki3ndslhbzxpxnrdhcjxzwv56d03xmzpj0xbw572jkr92fwaab4",
        ["/nix/store/yshm6llnida87k47l0i0pyx6ixn4409l-selfref"],
    ),
]
"""Paths that Nix 2.8 has added, with what it registers."""


@pytest.mark.parametrize(("path", "address", "references"), MADE_BY_NIX, ids=str)
def test_nix_gives_the_same_names(path: str, address: str, references: list[str]) -> None:
    found = ContentAddress.parse(address)
    assert found is not None
    store_path = StorePath.parse(path)
    assert found.names(store_path, map(StorePath, references))
    assert not found.names(store_path, map(StorePath, [*references, OTHER]))
    other_way = {*references} ^ {path}
    assert not found.names(store_path, map(StorePath, other_way))
    assert not found.names(StorePath(path + "x"), map(StorePath, references))
    methods: tuple[Literal["flat", "nar", "text"], ...] = ("flat", "nar", "text")
    for method in methods:
        same = replace(found, method=method).names(store_path, map(StorePath, references))
        assert same == (method == found.method)
    other = Hash(found.hash.algorithm, bytes(len(found.hash.digest)))
    assert not replace(found, hash=other).names(store_path, map(StorePath, references))


@pytest.mark.parametrize("text", ["", "x", "fixed:git:sha1:abc", "other:sha256:x"])
def test_other_methods_are_not_known(text: str) -> None:
    assert ContentAddress.parse(text) is None


@pytest.mark.parametrize("text", ["text:", "fixed:r:", "fixed:sha256:x", "fixed:r:crc:00"])
def test_hashes_that_are_not_valid(text: str) -> None:
    with pytest.raises(InputError):
        ContentAddress.parse(text)
