"""Private keys as cosign encrypts them: a NaCl secret box, whose key scrypt makes of a password.

The plain text is a private key in the form PKCS#8. Around it is JSON with the parameters, and
around that is PEM.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from textwrap import wrap
from typing import Final

import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from nixdock.errors import ImageError, InputError
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.signing.encoding import base64_bytes, base64_text

__all__ = ["decrypted_key", "encrypted_key_pem", "is_encrypted_key"]

_LABEL: Final = "ENCRYPTED SIGSTORE PRIVATE KEY"
# The older label is that of cosign before version 2.
_PEM: Final = re.compile(
    rb"-----BEGIN (ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY)-----\s"
    rb"([A-Za-z0-9+/=\s]*)-----END \1-----"
)
_SCRYPT: Final = "scrypt"
_SECRET_BOX: Final = "nacl/secretbox"
# Readers know no other number than this, the first that cosign had, or those of later versions.
_WRITTEN_N: Final = 1 << 15
# The last takes 128 MiB of memory.
_KNOWN_N: Final = frozenset({1 << 15, 1 << 16, 1 << 17})
_R: Final = 8
_P: Final = 1
_SALT_SIZE: Final = 32
_LINE: Final = 64


class _Params(msgspec.Struct, frozen=True):
    N: int
    r: int
    p: int


class _Kdf(msgspec.Struct, frozen=True):
    name: str
    params: _Params
    salt: str


class _Cipher(msgspec.Struct, frozen=True):
    name: str
    nonce: str


class _Sealed(msgspec.Struct, frozen=True):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: str


def is_encrypted_key(data: bytes) -> bool:
    """Tell whether a file has a private key that cosign has encrypted."""
    return _PEM.search(data) is not None


def decrypted_key(data: bytes, origin: str, password: bytes) -> bytes:
    """Return the private key in a file, as PKCS#8 in DER.

    Raise InputError, with `origin` as its subject, if the file is malformed or the password wrong.
    """
    match = _PEM.search(data)
    if match is None:
        raise InputError(f"{origin} is not an encrypted private key", path=origin)
    try:
        text = b"".join(match[2].split()).decode("ascii")
        sealed = converted(parse_json(base64_bytes(text)), _Sealed)
        salt, nonce, box = map(
            base64_bytes, (sealed.kdf.salt, sealed.cipher.nonce, sealed.ciphertext)
        )
        _check(sealed, nonce)
    except (ImageError, ValueError) as error:
        raise InputError(f"{origin} is a damaged private key: {error}", path=origin) from None
    key = _derived(password, salt, sealed.kdf.params.N)
    try:
        return SecretBox(key).decrypt(box, nonce)
    except CryptoError:
        raise InputError(
            f"{origin} can't be decrypted: the password is wrong, or the key is damaged",
            path=origin,
        ) from None


def _check(sealed: _Sealed, nonce: bytes) -> None:
    """Raise ValueError unless the parameters are known: they may take much time and memory."""
    if (sealed.kdf.name, sealed.cipher.name) != (_SCRYPT, _SECRET_BOX):
        raise ValueError("it is encrypted in a way that nixdock does not know")
    params = sealed.kdf.params
    if params.N not in _KNOWN_N or (params.r, params.p) != (_R, _P):
        raise ValueError("the parameters of scrypt are not those of cosign")
    if len(nonce) != SecretBox.NONCE_SIZE:
        raise ValueError("the nonce has a wrong size")


def encrypted_key_pem(private_key: bytes, password: bytes) -> bytes:
    """Encrypt a private key, which is PKCS#8 in DER, and return it as PEM."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(SecretBox.NONCE_SIZE)
    box = SecretBox(_derived(password, salt, _WRITTEN_N)).encrypt(private_key, nonce)
    sealed = {
        "kdf": {
            "name": _SCRYPT,
            "params": {"N": _WRITTEN_N, "r": _R, "p": _P},
            "salt": base64_text(salt),
        },
        "cipher": {"name": _SECRET_BOX, "nonce": base64_text(nonce)},
        "ciphertext": base64_text(box.ciphertext),
    }
    lines = wrap(b64encode(canonical_json(sealed)).decode("ascii"), _LINE)
    return "\n".join([f"-----BEGIN {_LABEL}-----", *lines, f"-----END {_LABEL}-----", ""]).encode(
        "ascii"
    )


def _derived(password: bytes, salt: bytes, n: int) -> bytes:
    return Scrypt(salt, SecretBox.KEY_SIZE, n, _R, _P).derive(password)
