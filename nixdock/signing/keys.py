"""Keys: ECDSA on the curve P-256 with SHA-256, as cosign makes them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Struct

from nixdock.errors import InputError
from nixdock.signing.encoding import base64_text
from nixdock.signing.encrypted_key import decrypted_key, encrypted_key_pem, is_encrypted_key

__all__ = ["AskPassword", "PublicKey", "SigningKey", "parse_public_key", "parse_signing_key"]

AskPassword = Callable[[], bytes]
"""Returns the password of a private key; it is called only for a key that is encrypted."""

_Key = TypeVar("_Key")

_PRIVATE: Final = b"PRIVATE KEY-----"
# How a key in PEM starts, whatever its form.
_PRIVATE_START: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_PUBLIC_START: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PUBLIC KEY-----")
# PKCS#8, and what OpenSSL writes of SEC 1 (RFC 1421, section 4.6).
_ENCRYPTED: Final = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE
)
_OPENSSH: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class PublicKey(Struct, frozen=True):
    """A key with which signatures are verified."""

    key: ec.EllipticCurvePublicKey

    @property
    def hint(self) -> str:
        """What names the key in a Sigstore bundle: the SHA-256 of its DER form, in Base64."""
        der = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64_text(hashlib.sha256(der).digest())

    @property
    def pem(self) -> bytes:
        """The key as PEM."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature, in DER, is that of the key under `data`."""
        try:
            self.key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature under `data`, in DER; the same data has the same signature.

        Only with OpenSSL before 3.2, signatures differ.
        """
        try:
            return self.key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self.key.sign(data, ec.ECDSA(SHA256()))

    def encrypted_pem(self, password: bytes) -> bytes:
        """Return the key, encrypted as cosign does it, as PEM."""
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return encrypted_key_pem(der, password)


def parse_signing_key(data: bytes, origin: str, ask_password: AskPassword) -> SigningKey:
    """Return the private key in a file: encrypted by cosign, or PKCS#8 or SEC 1 in PEM.

    Raise InputError, with `origin` as its subject, if it is none or has several, if the password is
    wrong, or if the key is of another kind. No message has a part of the file.
    """
    _check_single(data, _PRIVATE_START, "private", origin)
    password = None
    if is_encrypted_key(data):
        der = decrypted_key(data, origin, ask_password())
        key = _loaded(lambda: load_der_private_key(der, None))
    elif _PRIVATE not in data:
        what = "a public key; sign with the private one" if b"PUBLIC KEY" in data else "no key"
        raise InputError(f"{origin} is not a private key in PEM: it is {what}", path=origin)
    elif _OPENSSH in data:
        raise InputError(
            f"{origin} is a key in the form of OpenSSH; write it as PKCS#8, as by"
            " `ssh-keygen -p -m PKCS8 -f FILE`, which changes the file",
            path=origin,
        )
    else:
        password = ask_password() if _ENCRYPTED.search(data) else None
        key = _loaded(lambda: load_pem_private_key(data, password))
    if key is None:
        reason = "" if password is None else ", or its password is wrong"
        raise InputError(f"{origin} is a damaged private key{reason}", path=origin)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p256(key.curve):
        raise _wrong_kind(origin)
    return SigningKey(key)


def parse_public_key(data: bytes, origin: str) -> PublicKey:
    """Return the public key in a file, in PEM.

    Raise InputError if it is none, has several keys, or has one of another kind.
    """
    if _PRIVATE in data:
        raise InputError(
            f"{origin} is a private key; signatures are verified with the public one", path=origin
        )
    _check_single(data, _PUBLIC_START, "public", origin)
    key = _loaded(lambda: load_pem_public_key(data))
    if key is None:
        raise InputError(f"{origin} is not a public key in PEM", path=origin)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key.curve):
        raise _wrong_kind(origin)
    return PublicKey(key)


def _check_single(data: bytes, start: re.Pattern[bytes], kind: str, origin: str) -> None:
    """Raise InputError if a file has several keys of a kind: only the first would count."""
    count = len(start.findall(data))
    if count > 1:
        raise InputError(
            f"{origin} has {count} {kind} keys, but may have only one; write the one that is meant"
            " into a file of its own",
            path=origin,
        )


def _loaded(load: Callable[[], _Key]) -> _Key | None:
    """Return the key that is loaded, or None; the library's messages may have parts of it."""
    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)


def _wrong_kind(origin: str) -> InputError:
    return InputError(
        f"{origin} is not a key for ECDSA on the curve P-256, which cosign makes", path=origin
    )
