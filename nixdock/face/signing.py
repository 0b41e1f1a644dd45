"""Signing images, and making keys for that."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import InputError, OutputError
from nixdock.signing.signed_image import SignedImage

if TYPE_CHECKING:
    from nixdock.attach.subject import Subject
    from nixdock.oci.location import Location, Place
    from nixdock.registry.access import Access
    from nixdock.signing.keys import SigningKey

__all__ = ["attest_image", "generate_key_pair", "sign_image"]

_FORMS: Final = frozenset({"bundle", "tag"})

Password = bytes | Callable[[], bytes] | None


def generate_key_pair(
    private: str | os.PathLike[str], public: str | os.PathLike[str], password: bytes
) -> None:
    """Write a new private key, encrypted with a password as cosign does it, and its public key.

    Raise OutputError if one of the files exists or can't be written.
    """
    from nixdock.signing.keys import SigningKey
    from nixdock.system.atomic import whole_file

    files = Path(private), Path(public)
    for file in files:
        if os.path.lexists(file):
            raise OutputError(f"{file} exists, and a key must not be lost; name another", path=file)
    key = SigningKey.generate()
    with whole_file(files[0], 0o600) as secret, whole_file(files[1]) as known:
        secret.write(key.encrypted_pem(password))
        known.write(key.public.pem)


def sign_image(
    place: Place,
    key: str | os.PathLike[str],
    *,
    password: Password = None,
    forms: Collection[str] | None = None,
    identity: str | None = None,
    recursive: bool = False,
    platform: str | None = None,
    access: Access | None = None,
) -> list[SignedImage]:
    """Sign the image or index at a place with the private key in a file, unless it is signed.

    The place is in a registry or an OCI layout in a directory. `password`, or a function that
    returns it, is for a key that is encrypted. `forms` are `bundle`, a Sigstore bundle that refers
    to the image, and `tag`, cosign's first form, which only registries have; the default is every
    form that there is. `identity` is the name of the image in the latter; the default is that of
    the repository. With `recursive`, the images in an index in a registry are signed, too; with
    `platform`, only the one for it.

    Return what is signed. Raise InputError if an argument or the key is not valid, or the password
    is wrong; ImageError if the image or the list of signatures is malformed; RegistryError if a
    registry refuses; and OutputError if the layout can't be written.
    """
    from nixdock.attach.subject import open_subject
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.signing.simple_signing import identity_of

    location, wanted = location_of(place), wanted_platform(platform)
    chosen = _forms(location, forms)
    if identity is not None and "tag" not in chosen:
        raise InputError(f"only a signature under a tag has an identity, such as {identity!r}")
    name = None if identity is None else identity_of(identity)
    signing = _signing_key(Path(key), password)
    with open_subject(location, wanted, access, attaching=True) as subject:
        # Before anything is signed: they may be refused.
        below = _manifests_in(subject) if recursive else []
        signed = [_sign(subject, chosen, name, signing)]
    for reference in below:
        with open_subject(reference, None, access, attaching=True) as subject:
            signed.append(_sign(subject, chosen, name, signing))
    return signed


def _forms(location: Location, forms: Collection[str] | None) -> list[str]:
    """Return the forms that an image at a location gets; raise InputError if it can't."""
    from nixdock.oci.location import location_text
    from nixdock.oci.registry_reference import RegistryReference

    possible = _FORMS if isinstance(location, RegistryReference) else _FORMS - {"tag"}
    chosen = possible if forms is None else forms
    if not chosen or not _FORMS.issuperset(chosen):
        raise InputError(f"{forms!r} are not forms of signatures: they are bundle and tag")
    if not possible.issuperset(chosen):
        place = location_text(location)
        raise InputError(
            f"{place} is not in a registry, so it can't have signatures under a tag", path=place
        )
    return sorted(chosen)


def _sign(subject: Subject, forms: list[str], identity: str | None, key: SigningKey) -> SignedImage:
    from nixdock.signing.adding import add_signature_bundle, add_to_list

    digest, repository = subject.manifest.digest, subject.repository
    added = []
    if "bundle" in forms and add_signature_bundle(subject, key):
        added.append("bundle")
    if "tag" in forms and repository is not None:
        name = identity or repository.place
        if add_to_list(repository, digest, name, key):
            added.append("tag")
    return SignedImage(subject.place, digest, tuple(forms), tuple(added))


def _manifests_in(subject: Subject) -> list[Location]:
    """Return the manifests that an index lists, or nothing if it is an image."""
    from nixdock.oci.digests import check_digest
    from nixdock.transfer.tree import parse_index

    index = parse_index(subject.manifest)
    if index is None:
        return []
    if subject.repository is None:
        raise InputError(
            f"{subject.place} is an index that is not in a registry; sign its images one by one, by"
            " their platforms"
        )
    return [subject.repository.reference(check_digest(each.digest)) for each in index.manifests]


def attest_image(
    place: Place,
    key: str | os.PathLike[str],
    content: str | os.PathLike[str],
    kind: str | None = None,
    *,
    password: Password = None,
    platform: str | None = None,
    access: Access | None = None,
) -> SignedImage:
    """Sign a statement about the image or index at a place, and attach it as a Sigstore bundle.

    The file `content` has the predicate, of the type `kind`, a URI or a short name such as spdx,
    cyclonedx or provenance; or it has an in-toto statement about the image, and about nothing else.
    Nothing is done if the key has signed the same statement already. Raise what `sign_image`
    raises, and InputError if the file is neither.
    """
    from nixdock.attach.subject import open_subject
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.signing.adding import add_attestation
    from nixdock.signing.statement import statement_to_sign
    from nixdock.system.input_files import read_bytes

    signing = _signing_key(Path(key), password)
    wanted = wanted_platform(platform)
    file = Path(content)
    with open_subject(location_of(place), wanted, access, attaching=True) as subject:
        digest, repository = subject.manifest.digest, subject.repository
        data = read_bytes(file, "what is attested").strip()
        name = None if repository is None else repository.place
        try:
            statement = statement_to_sign(data, digest, name, kind, str(file))
        except InputError as error:
            error.path = str(file)
            raise
        added = ("bundle",) if add_attestation(subject, statement, signing) else ()
        return SignedImage(subject.place, digest, ("bundle",), added)


def _signing_key(file: Path, password: Password) -> SigningKey:
    from nixdock.signing.key_file import read_key
    from nixdock.signing.keys import parse_signing_key

    def given() -> bytes:
        if password is None:
            raise InputError(f"{file} is encrypted, and there is no password for it", path=file)
        return password if isinstance(password, bytes) else password()

    return parse_signing_key(read_key(file, "the private key"), str(file), given)
