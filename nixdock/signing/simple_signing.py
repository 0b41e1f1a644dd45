"""What cosign signs of old: JSON that names the digest of a manifest ("simple signing").

The format is that of containers-signature(5); cosign's specification of signatures adds its type.
"""

from __future__ import annotations

from typing import Final

import msgspec

from nixdock.errors import ImageError
from nixdock.oci.registry_reference import RegistryReference
from nixdock.oci.untrusted_json import converted, parse_json

__all__ = ["SIMPLE_SIGNING", "Claim", "identity_of", "parse_payload", "payload_of"]

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
"""The media type of the payload."""

_TYPE: Final = "cosign container image signature"


class Claim(msgspec.Struct, frozen=True):
    """What a payload says: the digest of a manifest, and the name under which it is known."""

    digest: str
    identity: str


def identity_of(text: str) -> str:
    """Return the name of an image in full, as those who verify compare it; no tag is added.

    Raise InputError if it is none: nobody would accept a signature with it.
    """
    reference = RegistryReference.parse(text)
    is_whole = reference.digest is not None or text.endswith(f":{reference.tag}")
    return str(reference) if is_whole else reference.name


class _Identity(msgspec.Struct, frozen=True, rename="kebab"):
    docker_reference: str


class _Image(msgspec.Struct, frozen=True, rename="kebab"):
    docker_manifest_digest: str


class _Critical(msgspec.Struct, frozen=True):
    identity: _Identity
    image: _Image
    type: str


class _Payload(msgspec.Struct, frozen=True):
    critical: _Critical


def payload_of(claim: Claim) -> bytes:
    """Return the payload, with the bytes that cosign would write."""
    identity = _Identity(claim.identity)
    critical = _Critical(identity, _Image(claim.digest), _TYPE)
    document = {"critical": critical, "optional": None}
    return msgspec.json.encode(document)


def parse_payload(data: bytes) -> Claim:
    """Return what a payload says; raise ImageError if it is none of cosign."""
    payload = converted(parse_json(data, "the payload"), _Payload, "the payload")
    if payload.critical.type != _TYPE:
        raise ImageError(f"the payload is of the type {payload.critical.type!r}, not {_TYPE!r}")
    return Claim(
        payload.critical.image.docker_manifest_digest, payload.critical.identity.docker_reference
    )
