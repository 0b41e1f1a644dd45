"""Signatures and attestations of a manifest that a key has verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from nixdock.attach.subject import Subject, read_content
from nixdock.errors import ImageError, RegistryError
from nixdock.oci.descriptor import Blob
from nixdock.oci.media_types import MANIFEST_MEDIA_TYPES
from nixdock.registry.manifests import get_manifest
from nixdock.registry.repository import Repository
from nixdock.registry.small_blobs import read_small_blob
from nixdock.signing.bundle import Bundle, parse_bundle
from nixdock.signing.keys import PublicKey
from nixdock.signing.signature_list import Entry, SignatureList, signature_tag
from nixdock.signing.simple_signing import Claim, parse_payload
from nixdock.signing.statement import SIGNATURE_TYPE, Statement, parse_statement

__all__ = ["Complain", "claims_in", "read_list", "signatures_in_bundles", "statements_about"]

Complain = Callable[[str], object]
"""Takes the reason why something that may be a signature is none, or not one of the key."""

_BUNDLES: Final = "application/vnd.dev.sigstore.bundle"
_MOST_BUNDLES: Final = 1000
_MOST_BUNDLE: Final = 128 << 20


def _ignore(_reason: str) -> None:
    """Take a reason, and do nothing."""


def read_list(repository: Repository, digest: str) -> SignatureList | None:
    """Return the list of signatures of a manifest, without its config, or None if there is none.

    Raise ImageError if it is malformed.
    """
    tag = signature_tag(digest)
    found = get_manifest(repository, tag)
    if found is None:
        return None
    if found.media_type not in MANIFEST_MEDIA_TYPES:
        raise ImageError(f"{repository.reference(tag)} is an index, not a list of signatures")
    return SignatureList.parse(found.data)


def claims_in(
    repository: Repository,
    signatures: SignatureList,
    digest: str,
    key: PublicKey,
    complain: Complain = _ignore,
) -> Iterator[Claim]:
    """Yield what the key has signed of the manifest with that digest, of a list of signatures."""
    tag = signature_tag(digest)
    for number, entry in enumerate(signatures.entries(), 1):
        try:
            yield _claim(repository, entry, digest, key)
        except (ImageError, RegistryError) as error:
            _pass_on(error, f"signature {number} in {tag}", complain)


def _pass_on(error: ImageError | RegistryError, what: str, complain: Complain) -> None:
    """Complain of something that is damaged or missing; raise any other error again."""
    if isinstance(error, RegistryError) and error.status != 404:
        raise error
    complain(f"{what}: {error}")


def _claim(repository: Repository, entry: Entry, digest: str, key: PublicKey) -> Claim:
    payload = read_small_blob(repository, entry.digest, entry.size)
    if not key.has_signed(payload, entry.signature):
        raise ImageError("it is not of this key, or it is damaged")
    claim = parse_payload(payload)
    if claim.digest != digest:
        raise ImageError(f"it is for {claim.digest}, another manifest")
    return claim


def signatures_in_bundles(
    subject: Subject, key: PublicKey, complain: Complain = _ignore
) -> Iterator[str]:
    """Yield the digests of the referrers with a signature of the key under the manifest."""
    for digest, bundle in _bundles(subject, complain):
        try:
            _check_signature(bundle, subject.manifest, key)
        except ImageError as error:
            complain(f"the bundle in {digest}: {error}")
        else:
            yield digest


def _check_signature(bundle: Bundle, manifest: Blob, key: PublicKey) -> None:
    """Raise ImageError unless the key has signed the manifest, or the statement that says so."""
    if not bundle.has_envelope:
        bundle.check_message(key, manifest.data)
        return
    statement = _checked_statement(bundle.verified_statement(key), manifest.digest)
    if statement.predicate_type != SIGNATURE_TYPE:
        kind = statement.predicate_type
        raise ImageError(f"it is an attestation of the type {kind!r}, not a signature")
    if not statement.is_about_no_other(manifest.digest):
        raise ImageError("it is for other things, too")


def statements_about(
    subject: Subject, kind: str, key: PublicKey, complain: Complain = _ignore
) -> Iterator[bytes]:
    """Yield the statements about a manifest that the key has signed, with a predicate of a type."""
    for digest, bundle in _bundles(subject, complain):
        try:
            data = bundle.verified_statement(key)
            found = _checked_statement(data, subject.manifest.digest).predicate_type
        except ImageError as error:
            complain(f"the bundle in {digest}: {error}")
            continue
        if found == kind:
            yield data
        else:
            complain(f"the bundle in {digest}: it is of the type {found!r}")


def _checked_statement(data: bytes, digest: str) -> Statement:
    """Return a statement whose signature is right; raise ImageError if it is about another one."""
    statement = parse_statement(data)
    if not statement.is_about(digest):
        raise ImageError("it is for another manifest")
    return statement


def _bundles(subject: Subject, complain: Complain) -> Iterator[tuple[str, Bundle]]:
    """Yield the bundles that refer to a manifest, with the digests of the referrers."""
    found = [each for each in subject.referrers() if each.artifact_type.startswith(_BUNDLES)]
    if len(found) > _MOST_BUNDLES:
        raise ImageError(
            f"{len(found)} bundles refer to {subject.place}, but may be at most {_MOST_BUNDLES}"
        )
    for each in found:
        try:
            bundle = parse_bundle(read_content(subject, each, _MOST_BUNDLE))
        except (ImageError, RegistryError) as error:
            _pass_on(error, f"the bundle in {each.digest}", complain)
        else:
            yield each.digest, bundle
