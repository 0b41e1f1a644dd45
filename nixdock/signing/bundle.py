"""Sigstore bundles: a signature with what is needed to verify it, as JSON.

The format is version 0.3 of Sigstore's bundle.proto. A bundle holds a DSSE envelope, or a signature
right under the bytes of the manifest. Entries of transparency logs, certificates and timestamps are
for signatures without a key that the reader has, and are not looked at.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from nixdock.errors import ImageError
from nixdock.oci.descriptor import canonical_json
from nixdock.provenance.statement import IN_TOTO_MEDIA_TYPE
from nixdock.signing.encoding import base64_bytes, base64_text, decoded_json
from nixdock.signing.keys import PublicKey, SigningKey

__all__ = ["BUNDLE", "Bundle", "parse_bundle", "signed_bundle"]

BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""The media type of a bundle."""

# Earlier versions wrote the version elsewhere; what is read here is the same in all of them.
_MEDIA_TYPE: Final = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(\.v0\.3\+json|\+json;version=0\.[123])", re.ASCII
)
_SHA256: Final = "SHA2_256"


class _PublicKey(msgspec.Struct, frozen=True):
    """What names the key; the signer chooses the form of the hint, and nothing vouches for it."""

    hint: str = ""


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: _PublicKey | None = None


class _Signature(msgspec.Struct, frozen=True):
    sig: str


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _MessageDigest(msgspec.Struct, frozen=True):
    algorithm: str
    digest: str


class _MessageSignature(msgspec.Struct, frozen=True, rename="camel"):
    signature: str
    message_digest: _MessageDigest | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope | None = None
    message_signature: _MessageSignature | None = None


def _authenticated(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed of an envelope (DSSE, "PAE")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signed_bundle(statement: bytes, key: SigningKey) -> bytes:
    """Return a bundle with a statement in an envelope that the key has signed."""
    signature = key.sign(_authenticated(IN_TOTO_MEDIA_TYPE, statement))
    return canonical_json(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}},
            "dsseEnvelope": {
                "payload": base64_text(statement),
                "payloadType": IN_TOTO_MEDIA_TYPE,
                "signatures": [{"sig": base64_text(signature)}],
            },
        }
    )


class Bundle(msgspec.Struct, frozen=True):
    """A bundle whose signature has not been verified."""

    document: _Document

    @property
    def has_envelope(self) -> bool:
        """Whether the bundle has an envelope, and not a signature without one."""
        return self.document.dsse_envelope is not None

    def verified_statement(self, key: PublicKey) -> bytes:
        """Return the statement in the envelope.

        Raise ImageError if there is none, if the key has not signed it, or if it is malformed.
        """
        envelope = self.document.dsse_envelope
        if envelope is None:
            raise ImageError("the bundle has no envelope with a statement")
        self._check_is_of_a_key()
        payload = _decoded(envelope.payload)
        signed = _authenticated(envelope.payload_type, payload)
        # A bundle has one signature, of whoever the verification material names.
        if len(envelope.signatures) != 1:
            raise ImageError("the bundle does not have exactly one signature")
        self._check_signature(key, signed, envelope.signatures[0].sig)
        if envelope.payload_type != IN_TOTO_MEDIA_TYPE:
            raise ImageError(f"what is signed is {envelope.payload_type!r}, not a statement")
        return payload

    def check_message(self, key: PublicKey, message: bytes) -> None:
        """Raise ImageError unless the key has signed `message` itself, without an envelope."""
        found = self.document.message_signature
        if found is None:
            raise ImageError("the bundle has no signature without an envelope")
        self._check_is_of_a_key()
        digest = found.message_digest
        if digest is not None:
            hashed = hashlib.sha256(message).digest()
            if digest.algorithm != _SHA256 or _decoded(digest.digest) != hashed:
                raise ImageError("the bundle is for another manifest")
        self._check_signature(key, message, found.signature)

    def _check_is_of_a_key(self) -> None:
        if self.document.verification_material.public_key is None:
            raise ImageError("the bundle has been signed with a certificate, not with a key")

    def _check_signature(self, key: PublicKey, signed: bytes, signature: str) -> None:
        """Raise ImageError unless the key has signed `signed`, whatever the hint says."""
        if key.has_signed(signed, _decoded(signature)):
            return
        named = self.document.verification_material.public_key
        if named is not None and named.hint not in {"", key.hint}:
            raise ImageError("the bundle has been signed with another key")
        raise ImageError("the signature in the bundle is not of this key, or it is damaged")


def parse_bundle(data: bytes) -> Bundle:
    """Return a bundle; raise ImageError if it is malformed, or of an unknown version."""
    document = decoded_json(data, _Document, "the bundle")
    if not _MEDIA_TYPE.fullmatch(document.media_type):
        raise ImageError(f"the bundle has the media type {document.media_type!r}, not {BUNDLE!r}")
    if (document.dsse_envelope is None) is (document.message_signature is None):
        raise ImageError("the bundle must have an envelope or a signature, and not both")
    return Bundle(document)


def _decoded(text: str) -> bytes:
    try:
        return base64_bytes(text)
    except ValueError as error:
        raise ImageError(f"the bundle is malformed: {error}") from None
