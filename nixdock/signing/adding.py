"""Signing manifests, and attesting something about them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from nixdock.attach.subject import Subject
from nixdock.errors import RegistryError
from nixdock.oci.attachment import attach_content
from nixdock.oci.descriptor import Blob
from nixdock.registry.repository import Repository
from nixdock.registry.shared_tags import add_to_tag
from nixdock.registry.small_blobs import put_small_blob, read_small_blob
from nixdock.signing.bundle import BUNDLE, signed_bundle
from nixdock.signing.finding import claims_in, read_list, signatures_in_bundles, statements_about
from nixdock.signing.keys import SigningKey
from nixdock.signing.signature_list import SignatureList, signature_tag
from nixdock.signing.simple_signing import SIMPLE_SIGNING, Claim, payload_of
from nixdock.signing.statement import parse_statement, signature_statement

__all__ = ["add_attestation", "add_signature_bundle", "add_to_list"]

_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"


def add_to_list(repository: Repository, digest: str, identity: str, key: SigningKey) -> bool:
    """Add a signature to the list of a manifest; return False if the key has signed it already.

    Raise RegistryError if the registry refuses, or if others write the list again and again, and
    ImageError if the list is malformed.
    """
    claim = Claim(digest, identity)
    payload = payload_of(claim)
    signature = key.sign(payload)
    tag = signature_tag(digest)

    def read() -> _ReadList:
        signatures = _whole_list(repository, digest)
        has_it = claim in claims_in(repository, signatures, digest, key.public)
        return _ReadList(repository, signatures, has_it, payload, signature)

    def lasting_failure(why: str) -> RegistryError:
        return RegistryError(
            f"{repository.place}: the list of signatures {tag} still lacks this one {why}",
            place=repository.place,
            digest=digest,
            status=200,
        )

    return add_to_tag(repository, tag, read, lasting_failure) is not None


class _ReadList(Struct, frozen=True):
    """The list of a manifest, and the signature that is to be in it."""

    repository: Repository
    signatures: SignatureList
    is_complete: bool
    payload: bytes
    signature: bytes

    def extended(self, _refusal: RegistryError | None) -> Blob:
        """Return the list with the signature, and store what it refers to."""
        manifest, config = self.signatures.with_signature(self.payload, self.signature)
        put_small_blob(self.repository, Blob(SIMPLE_SIGNING, self.payload))
        put_small_blob(self.repository, config)
        return manifest


def _whole_list(repository: Repository, digest: str) -> SignatureList:
    """Return the list of a manifest with its config, empty if there is none."""
    found = read_list(repository, digest)
    if found is None:
        return SignatureList.empty()
    return found.with_config(read_small_blob(repository, *found.config_descriptor))


def add_signature_bundle(subject: Subject, key: SigningKey) -> bool:
    """Attach a bundle with a signature; return False if the key has signed the manifest already.

    Raise what `Subject.attach` raises.
    """
    if any(True for _ in signatures_in_bundles(subject, key.public)):
        return False
    _attach(subject, signature_statement(subject.manifest.digest), key)
    return True


def add_attestation(subject: Subject, statement: bytes, key: SigningKey) -> bool:
    """Attach a bundle with a signed statement; return False if it is there already.

    Raise ImageError if it is no statement, and what `Subject.attach` raises.
    """
    kind = parse_statement(statement).predicate_type
    if statement in statements_about(subject, kind, key.public):
        return False
    _attach(subject, statement, key)
    return True


def _attach(subject: Subject, statement: bytes, key: SigningKey) -> None:
    annotations = {
        _CONTENT: "dsse-envelope",
        _PREDICATE: parse_statement(statement).predicate_type,
    }
    bundle = Blob(BUNDLE, signed_bundle(statement, key))
    subject.attach([attach_content(subject.manifest.descriptor(), bundle, annotations)])
