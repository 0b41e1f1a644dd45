"""Signatures of store paths, as Nix checks them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.nix.closure import PathInfo
from nixdock.nix.registrations import known_nar_hash
from nixdock.system.text import shown

__all__ = ["TrustedKeys", "fingerprint", "signer_of"]

_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64
_NAME: Final = re.compile(r"[^:\s]+")


def fingerprint(info: PathInfo) -> bytes:
    """Return what is signed: the path, its NAR hash and size, and its references.

    Raise ClosureError if there is no NAR hash, or if it is not sha256.
    """
    digest = known_nar_hash(info).base32
    references = ",".join(sorted(info.references))
    return f"1;{info.path};sha256:{digest};{info.nar_size};{references}".encode()


def signer_of(signature: str) -> str:
    """Return the name of the key that a signature claims to be from, as text for messages."""
    return shown(signature.partition(":")[0])


class TrustedKeys(Struct, frozen=True):
    """Public keys, of 32 bytes each, by their names."""

    keys: Mapping[str, bytes]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> TrustedKeys:
        """Parse keys as Nix writes them, NAME:BASE64; raise InputError if one is not a key.

        Of several keys with the same name, the first one counts, as in Nix.
        """
        keys: dict[str, bytes] = {}
        for name, key in map(_parse_key, texts):
            keys.setdefault(name, key)
        return cls(keys)

    def trusts(self, info: PathInfo, signatures: Iterable[str]) -> bool:
        """Tell whether one of the signatures of a path is valid, and by a trusted key."""
        signed = fingerprint(info)
        return any(self._is_valid(signed, signature) for signature in signatures)

    def _is_valid(self, signed: bytes, signature: str) -> bool:
        name, _, text = signature.partition(":")
        key = self.keys.get(name)
        data = _decoded(text)
        if key is None or data is None or len(data) != _SIGNATURE_SIZE:
            return False
        # The library that Nix uses, so that both accept the same signatures.
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415 (loaded only if it is needed)
        from nacl.signing import VerifyKey  # noqa: PLC0415 (the same)

        try:
            VerifyKey(key).verify(signed, data)
        except BadSignatureError:
            return False
        return True


def _parse_key(text: str) -> tuple[str, bytes]:
    name, _, encoded = text.partition(":")
    key = _decoded(encoded)
    if not _NAME.fullmatch(name) or key is None or len(key) != _KEY_SIZE:
        # Somebody may have given the secret key, which must not be repeated.
        raise InputError(
            f"the trusted public key {shown(name)!r} is not NAME:BASE64 with {_KEY_SIZE} bytes, as"
            " in cache.example.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
        )
    return name, key


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
