"""Signing images in registries, and verifying their signatures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import InputError, OutputError, SignatureError

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Blob
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.registry.access import Access
    from nixdock.registry.repository import Repository
    from nixdock.signing.keys import PublicKey, SigningKey

__all__ = [
    "SignedImage",
    "attest_image",
    "generate_key_pair",
    "sign_image",
    "verify_attestation",
    "verify_signature",
]

_FORMS: Final = frozenset({"bundle", "tag"})

Password = bytes | Callable[[], bytes] | None


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A manifest or an index that a key has signed.

    `place` is its location, by its digest. `forms` are those of the signatures, `bundle` or `tag`,
    and `added` those that were added and had not been there.
    """

    place: str
    digest: str
    forms: tuple[str, ...]
    added: tuple[str, ...] = ()


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
    reference: str,
    key: str | os.PathLike[str],
    *,
    password: Password = None,
    forms: Collection[str] = ("bundle", "tag"),
    identity: str | None = None,
    recursive: bool = False,
    access: Access | None = None,
) -> list[SignedImage]:
    """Sign an image in a registry with the private key in a file, unless it is signed already.

    `password`, or a function that returns it, is for a key that is encrypted. `forms` are `bundle`,
    a Sigstore bundle that refers to the image, and `tag`, cosign's first form, which Podman and
    most admission controllers know. `identity` is the name of the image in the latter; the default
    is that of the repository. With `recursive`, the images in an index are signed, too.

    Return what was signed. Raise InputError if the reference or the key is not valid or the
    password is wrong, ImageError if a signature list is malformed, and RegistryError if there is no
    such image or the registry refuses.
    """
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.signing.adding import add_signature_bundle, add_to_list

    if not forms or not _FORMS.issuperset(forms):
        raise InputError(f"{forms!r} are not forms of signatures: they are bundle and tag")
    signing = _signing_key(Path(key), password)
    repository, manifest = _opened(RegistryReference.parse(reference), access, push=True)
    name = identity or repository.place
    signed = []
    for each in _manifests(repository, manifest) if recursive else [manifest]:
        added = []
        if "bundle" in forms and add_signature_bundle(repository, each, signing):
            added.append("bundle")
        if "tag" in forms and add_to_list(repository, each.digest, name, signing):
            added.append("tag")
        place = f"docker://{repository.place}@{each.digest}"
        signed.append(SignedImage(place, each.digest, tuple(sorted(forms)), tuple(added)))
    return signed


def attest_image(
    reference: str,
    key: str | os.PathLike[str],
    content: str | os.PathLike[str],
    kind: str | None = None,
    *,
    password: Password = None,
    access: Access | None = None,
) -> SignedImage:
    """Sign a statement about an image in a registry, and attach it as a Sigstore bundle.

    The file `content` has the predicate, of the type `kind`, a URI or a short name such as spdx,
    cyclonedx or provenance; or it has an in-toto statement about the image. Nothing is done if the
    key has signed the same statement already. Raise what `sign_image` raises, and InputError if the
    file is neither.
    """
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.signing.adding import add_attestation

    signing = _signing_key(Path(key), password)
    repository, manifest = _opened(RegistryReference.parse(reference), access, push=True)
    statement = _statement(Path(content), manifest.digest, repository.place, kind)
    added = ("bundle",) if add_attestation(repository, manifest, statement, signing) else ()
    place = f"docker://{repository.place}@{manifest.digest}"
    return SignedImage(place, manifest.digest, ("bundle",), added)


def verify_signature(
    reference: str, key: str | os.PathLike[str], *, access: Access | None = None
) -> SignedImage:
    """Return an image in a registry that the private key to a public one, in a file, has signed.

    The image or index is found by its tag or digest; the result has the digest that is signed. Its
    layers are not read: the manifest has their digests. Raise SignatureError if the key has not
    signed it, InputError if the reference or the key is not valid, and RegistryError if the
    registry does not answer as it should.
    """
    from nixdock.errors import ImageError
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.signing.finding import claims_in, read_list, signatures_in_bundles

    public = _public_key(Path(key))
    repository, manifest = _opened(RegistryReference.parse(reference), access)
    reasons: list[str] = []
    forms = []
    if any(True for _ in signatures_in_bundles(repository, manifest, public, reasons.append)):
        forms.append("bundle")
    try:
        listed = read_list(repository, manifest.digest)
        if listed is not None and any(
            True for _ in claims_in(repository, listed, manifest.digest, public, reasons.append)
        ):
            forms.append("tag")
    except ImageError as error:
        reasons.append(str(error))
    place = f"docker://{repository.place}@{manifest.digest}"
    if not forms:
        raise _unsigned(place, manifest.digest, f"is not signed with the key in {key}", reasons)
    return SignedImage(place, manifest.digest, tuple(forms))


def verify_attestation(
    reference: str, key: str | os.PathLike[str], kind: str, *, access: Access | None = None
) -> list[bytes]:
    """Return the in-toto statements about an image in a registry that a key has signed.

    `kind` is the type of their predicates, as for `attest_image`. Raise what `verify_signature`
    raises; SignatureError if there are none.
    """
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.signing.finding import statements_about
    from nixdock.signing.statement import predicate_type

    public = _public_key(Path(key))
    uri = predicate_type(kind)
    repository, manifest = _opened(RegistryReference.parse(reference), access)
    reasons: list[str] = []
    found = [*statements_about(repository, manifest, uri, public, reasons.append)]
    if not found:
        place = f"docker://{repository.place}@{manifest.digest}"
        what = f"has no attestation of the type {uri} that is signed with the key in {key}"
        raise _unsigned(place, manifest.digest, what, reasons)
    return found


def _unsigned(place: str, digest: str, what: str, reasons: list[str]) -> SignatureError:
    why = f": {'; '.join(reasons)}" if reasons else ": it has no signatures"
    return SignatureError(f"{place} {what}{why}", place=place, digest=digest, reasons=reasons)


def _signing_key(file: Path, password: Password) -> SigningKey:
    from nixdock.signing.keys import parse_signing_key
    from nixdock.system.input_files import read_bytes

    def given() -> bytes:
        if password is None:
            raise InputError(f"{file} is encrypted, and there is no password for it", path=file)
        return password if isinstance(password, bytes) else password()

    return parse_signing_key(read_bytes(file, "the private key"), str(file), given)


def _public_key(file: Path) -> PublicKey:
    from nixdock.signing.keys import parse_public_key
    from nixdock.system.input_files import read_bytes

    return parse_public_key(read_bytes(file, "the public key"), str(file))


def _opened(
    reference: RegistryReference, access: Access | None, *, push: bool = False
) -> tuple[Repository, Blob]:
    """Return the repository of an image, and its manifest or index."""
    from nixdock.oci.descriptor import Blob
    from nixdock.registry.manifests import existing_manifest
    from nixdock.registry.repository import Repository
    from nixdock.registry.transport import Transport

    transport = Transport(reference.host, access)
    repository = Repository(transport, reference.repository, is_target=push)
    found = existing_manifest(repository, reference)
    return repository, Blob(found.media_type, found.data)


def _manifests(repository: Repository, manifest: Blob) -> Iterator[Blob]:
    """Yield a manifest or an index, and all manifests that the index lists."""
    from nixdock.oci.descriptor import Blob
    from nixdock.oci.digests import check_digest
    from nixdock.oci.documents import IndexDocument
    from nixdock.oci.media_types import INDEX_MEDIA_TYPES
    from nixdock.oci.untrusted_json import converted, parse_json
    from nixdock.registry.manifests import existing_manifest

    yield manifest
    if manifest.media_type not in INDEX_MEDIA_TYPES:
        return
    for each in converted(parse_json(manifest.data), IndexDocument).manifests:
        digest = check_digest(each.digest)
        found = existing_manifest(repository, repository.reference(digest))
        yield Blob(found.media_type, found.data)


def _statement(file: Path, digest: str, name: str, kind: str | None) -> bytes:
    """Return the statement in a file, or one with the predicate in it."""
    import orjson

    from nixdock.errors import ImageError
    from nixdock.signing.statement import parse_statement, predicate_type, statement_about
    from nixdock.system.input_files import read_bytes

    data = read_bytes(file, "what is attested").strip()
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{file} is not valid JSON: {error}", path=file) from None
    if not isinstance(document, dict) or "_type" not in document:
        if kind is None:
            raise InputError(
                f"{file} is not an in-toto statement; say of which type the predicate in it is",
                path=file,
            )
        return statement_about(digest, name, predicate_type(kind), data)
    try:
        statement = parse_statement(data, str(file))
    except ImageError as error:
        raise InputError(str(error), path=file) from None
    if not statement.is_about(digest):
        raise InputError(f"{file} is a statement about another image, not {digest}", path=file)
    if kind is not None and statement.predicate_type != predicate_type(kind):
        raise InputError(f"{file} is of the type {statement.predicate_type}", path=file)
    return data
