"""Hashes in the notations that Nix uses."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError

__all__ = ["Hash", "base32_decode", "base32_encode"]

_BASE32_ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"
_BASE32_VALUES: Final = {char: value for value, char in enumerate(_BASE32_ALPHABET)}
_DIGEST_SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}


def base32_encode(digest: bytes) -> str:
    """Return `digest` in Nix's base32, most significant character first."""
    number = int.from_bytes(digest, "little")
    length = (len(digest) * 8 + 4) // 5
    return "".join(_BASE32_ALPHABET[(number >> (5 * i)) & 31] for i in reversed(range(length)))


def base32_decode(text: str, size: int) -> bytes:
    """Return the `size` bytes that `text` encodes; raise ValueError if it is not valid base32."""
    if len(text) != (size * 8 + 4) // 5:
        raise ValueError(f"{text!r} has {len(text)} characters, not {(size * 8 + 4) // 5}")
    number = 0
    for char in text:
        if char not in _BASE32_VALUES:
            raise ValueError(f"{char!r} is not a character of Nix's base32")
        number = (number << 5) | _BASE32_VALUES[char]
    if number >> (size * 8):
        raise ValueError(f"{text!r} encodes more than {size} bytes")
    return number.to_bytes(size, "little")


class Hash(Struct, frozen=True):
    """A hash: the name of its algorithm and the digest as bytes."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, text: object, algorithm: str | None = None) -> Hash:
        """Parse a hash in SRI or as ALGORITHM:DIGEST, with a DIGEST in base 16, 32 or 64.

        With `algorithm`, the DIGEST may stand alone. Raise InputError if `text` is not a hash.
        """
        if not isinstance(text, str):
            raise InputError(f"{text!r} is not a hash: expected ALGORITHM:DIGEST or SRI")
        name, separator, rest = text.partition("-")
        if separator and name in _DIGEST_SIZES:
            return cls(name, _decode(rest, name, text, sri=True))
        name, separator, rest = text.partition(":")
        if separator:
            return cls(name, _decode(rest, name, text))
        if algorithm is None:
            raise InputError(f"{text!r} is not a hash: expected ALGORITHM:DIGEST or SRI")
        return cls(algorithm, _decode(text, algorithm, text))

    @property
    def base16(self) -> str:
        """The digest in lower-case hexadecimal, without the algorithm."""
        return self.digest.hex()

    @property
    def base32(self) -> str:
        """The digest in Nix's base32, without the algorithm."""
        return base32_encode(self.digest)

    @property
    def sri(self) -> str:
        """The hash in Subresource Integrity notation: ALGORITHM-BASE64."""
        return f"{self.algorithm}-{base64.b64encode(self.digest).decode()}"

    def __str__(self) -> str:
        return self.sri


def _decode(digits: str, algorithm: str, whole: str, *, sri: bool = False) -> bytes:
    size = _DIGEST_SIZES.get(algorithm)
    if size is None:
        raise InputError(f"{whole!r} has the unknown hash algorithm {algorithm!r}")
    try:
        if sri or len(digits) == -(-size // 3) * 4:
            digest = base64.b64decode(digits, validate=True)
        elif len(digits) == size * 2:
            digest = bytes.fromhex(digits)
        else:
            digest = base32_decode(digits, size)
    except (ValueError, binascii.Error) as error:
        raise InputError(f"{whole!r} is not a valid {algorithm} hash: {error}") from None
    if len(digest) != size:
        raise InputError(
            f"{whole!r} encodes {len(digest)} bytes, but a {algorithm} digest has {size}"
        )
    return digest
