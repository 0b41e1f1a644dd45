"""Verifying signatures and attestations of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import SignatureError
from nixdock.signing.signed_image import SignedImage

if TYPE_CHECKING:
    import os

    from nixdock.attach.subject import Subject
    from nixdock.oci.location import Place
    from nixdock.registry.access import Access
    from nixdock.registry.repository import Repository
    from nixdock.signing.keys import PublicKey

__all__ = ["verify_attestation", "verify_signature"]


def verify_signature(
    place: Place,
    key: str | os.PathLike[str],
    *,
    platform: str | None = None,
    access: Access | None = None,
) -> SignedImage:
    """Return the image or index at a place, if a key has signed it; `key` is the public one.

    The place is in a registry, or an OCI layout in a directory or an archive. The result has the
    digest that is signed. No layer is read: the manifest has their digests. Raise SignatureError if
    the key has not signed it, InputError if an argument or the key is not valid, ImageError if the
    image is damaged, and RegistryError if a registry does not answer as it should.
    """
    from nixdock.attach.subject import open_subject
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.signing.finding import signatures_in_bundles

    public = _public_key(Path(key))
    reasons: list[str] = []
    forms = []
    with open_subject(location_of(place), wanted_platform(platform), access) as subject:
        digest = subject.manifest.digest
        if any(True for _ in signatures_in_bundles(subject, public, reasons.append)):
            forms.append("bundle")
        if subject.repository is not None and _is_listed(
            subject.repository, digest, public, reasons
        ):
            forms.append("tag")
        if not forms:
            raise _unsigned(subject, f"is not signed with the key in {key}", reasons)
        return SignedImage(subject.place, digest, tuple(forms))


def _is_listed(repository: Repository, digest: str, key: PublicKey, reasons: list[str]) -> bool:
    """Tell whether the key has signed a manifest, by the list of signatures under its tag."""
    from nixdock.errors import ImageError
    from nixdock.signing.finding import claims_in, read_list

    try:
        listed = read_list(repository, digest)
        claims = (
            [] if listed is None else claims_in(repository, listed, digest, key, reasons.append)
        )
        return any(True for _ in claims)
    except ImageError as error:
        reasons.append(str(error))
        return False


def verify_attestation(
    place: Place,
    key: str | os.PathLike[str],
    kind: str,
    *,
    platform: str | None = None,
    access: Access | None = None,
) -> list[bytes]:
    """Return the in-toto statements about the image or index at a place that a key has signed.

    `kind` is the type of their predicates, as for `attest_image`. Raise what `verify_signature`
    raises; SignatureError if there are none.
    """
    from nixdock.attach.subject import open_subject
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.signing.finding import statements_about
    from nixdock.signing.statement import predicate_type

    public = _public_key(Path(key))
    uri = predicate_type(kind)
    reasons: list[str] = []
    with open_subject(location_of(place), wanted_platform(platform), access) as subject:
        found = [*statements_about(subject, uri, public, reasons.append)]
        if not found:
            what = f"has no attestation of the type {uri} that is signed with the key in {key}"
            raise _unsigned(subject, what, reasons)
        return found


def _unsigned(subject: Subject, what: str, reasons: list[str]) -> SignatureError:
    why = f": {'; '.join(reasons)}" if reasons else ": it has no signatures"
    return SignatureError(
        f"{subject.place} {what}{why}",
        place=subject.place,
        digest=subject.manifest.digest,
        reasons=reasons,
    )


def _public_key(file: Path) -> PublicKey:
    from nixdock.signing.key_file import read_key
    from nixdock.signing.keys import parse_public_key

    return parse_public_key(read_key(file, "the public key"), str(file))
