from __future__ import annotations

import hashlib

import pytest

from nixdock.nix.hashes import Hash
from nixdock.nix.modulo_hash import ModuloHash

from .nar_files import File, dump

OWN = b"yshm6llnida87k47l0i0pyx6ixn4409l"
NAR = dump(File(b"hi /nix/store/%b-selfref\n" % OWN))


def modulo(data: bytes, size: int) -> bytes:
    found = ModuloHash("sha256", OWN)
    for at in range(0, len(data), size):
        found.update(memoryview(data)[at : at + size])
    assert found.digests() == found.digests()
    return found.digests()[0]


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 100, 1000])
def test_the_hash_is_that_of_nix(size: int) -> None:
    """It was made by `nix store make-content-addressed`."""
    expected = Hash.parse("sha256:1ki3ndslhbzxpxnrdhcjxzwv56d03xmzpj0xbw572jkr92fwaab4")
    assert modulo(NAR, size) == expected.digest


def test_the_hash_is_that_of_later_versions_without_places() -> None:
    """It was made by `nix store make-content-addressed` of Nix 2.26 and 2.34."""
    own = b"4mjsbf25l8s9z7dwj70dql9ccfhqan2m"
    path = b"/nix/store/%b-selfref" % own
    found = ModuloHash("sha256", own)
    found.update(dump(File(b"%b and %b\n" % (path, path))))
    expected = Hash.parse("sha256:0is3nyc6ks1khjcsazx3zzsig40c4wwv4qs77z3dym01paxjfn0m")
    assert found.digests()[1] == expected.digest


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 100, 1000])
def test_all_places_are_hashed_after_the_zeros(size: int) -> None:
    zeros = bytes(32)
    data = OWN + OWN[:-1] + OWN + b"x" * 50 + OWN + OWN
    expected = zeros + OWN[:-1] + zeros + b"x" * 50 + zeros + zeros + b"|0|63|145|177"
    assert modulo(data, size) == hashlib.sha256(expected).digest()
    assert modulo(data, size) != modulo(data.replace(OWN, zeros, 1), size)
    assert modulo(OWN[:-1], size) == hashlib.sha256(OWN[:-1]).digest()
    assert modulo(b"", size) == hashlib.sha256().digest()
