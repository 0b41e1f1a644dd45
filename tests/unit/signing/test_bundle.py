"""Bundles and payloads: what is signed, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import Key
from sigstore_models.bundle.v1 import Bundle as BundleModel

from nixdock.errors import ImageError, InputError
from nixdock.signing.bundle import parse_bundle, signed_bundle
from nixdock.signing.encoding import base64_bytes, base64_text
from nixdock.signing.keys import SigningKey, parse_public_key
from nixdock.signing.simple_signing import Claim, identity_of, parse_payload, payload_of
from nixdock.signing.statement import parse_statement, predicate_type, signature_statement

from .independent import make_key_pair, openssl, verifies

DIGEST = f"sha256:{'a' * 64}"
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
STATEMENT = signature_statement(DIGEST)
BUNDLE = signed_bundle(STATEMENT, KEY)


def changed(**keys: Any) -> bytes:
    return json.dumps({**json.loads(BUNDLE), **keys}).encode()


def test_the_statement_is_that_of_cosign() -> None:
    assert json.loads(STATEMENT) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": "a" * 64}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    assert parse_statement(STATEMENT).is_about(DIGEST)
    assert not parse_statement(STATEMENT).is_about(f"sha256:{'b' * 64}")


def test_a_bundle_is_one_for_other_libraries() -> None:
    material = json.loads(BUNDLE)["verificationMaterial"]
    # The library wants a list that others, such as cosign, leave out if it is empty.
    bundle = BundleModel.from_json(changed(verificationMaterial={**material, "tlogEntries": []}))
    assert bundle.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    written = json.loads(BUNDLE)["dsseEnvelope"]
    signatures = [{"keyid": "k", "sig": each["sig"]} for each in written["signatures"]]
    envelope = Envelope.from_dict({**written, "signatures": signatures})
    assert envelope.payload == STATEMENT
    for key, is_right in ((KEY, True), (OTHER, False)):
        pem = key.public.pem.decode()
        known = Key.from_dict(
            "k",
            {
                "keytype": "ecdsa",
                "scheme": "ecdsa-sha2-nistp256",
                "keyval": {"public": pem},
            },
        )
        if is_right:
            assert envelope.verify([known], 1)
        else:
            with pytest.raises(VerificationError):
                envelope.verify([known], 1)


@pytest.mark.tools
def test_openssl_verifies_what_is_signed(tmp_path: Path) -> None:
    public = tmp_path / "k.pub"
    public.write_bytes(KEY.public.pem)
    envelope = json.loads(BUNDLE)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    assert verifies(public, signed, base64.b64decode(envelope["signatures"][0]["sig"]))


def test_bundles_are_reproducible() -> None:
    assert signed_bundle(STATEMENT, KEY) == BUNDLE
    assert parse_bundle(BUNDLE).verified_statement(KEY.public) == STATEMENT


def test_a_flipped_bit_anywhere_is_refused() -> None:
    """But for the hint, for which nothing vouches: it does not change what is signed."""
    hint = b'"hint":"%b"' % KEY.public.hint.encode()
    start = BUNDLE.index(hint)
    of_hint = range(start * 8, (start + len(hint)) * 8)
    for place in range(len(BUNDLE) * 8):
        damaged = bytearray(BUNDLE)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = parse_bundle(bytes(damaged)).verified_statement(KEY.public)
        except ImageError:
            continue
        if place in of_hint and found == STATEMENT:
            continue
        pytest.fail(f"bit {place} of {damaged[place // 8 - 20 : place // 8 + 20]!r}: {found!r}")


def test_another_key() -> None:
    with pytest.raises(ImageError, match="has been signed with another key"):
        parse_bundle(BUNDLE).verified_statement(OTHER.public)
    lying = json.loads(BUNDLE)
    lying["verificationMaterial"]["publicKey"]["hint"] = OTHER.public.hint
    with pytest.raises(ImageError, match="is not of this key, or it is damaged"):
        parse_bundle(json.dumps(lying).encode()).verified_statement(OTHER.public)


@pytest.mark.parametrize("named", [{}, {"hint": ""}, {"hint": "release key"}])
def test_a_hint_of_another_form(named: dict[str, str]) -> None:
    """Signers may leave it out, or choose its form; the key decides."""
    bundle = parse_bundle(changed(verificationMaterial={"publicKey": named}))
    assert bundle.verified_statement(KEY.public) == STATEMENT
    with pytest.raises(ImageError, match=r"with another key|not of this key"):
        bundle.verified_statement(OTHER.public)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (changed(mediaType="text/plain"), "the media type 'text/plain'"),
        (changed(verificationMaterial={"certificate": {"rawBytes": "AA=="}}), "a certificate"),
        (changed(dsseEnvelope=None), "an envelope or a signature"),
        (changed(messageSignature={"signature": "AA=="}), "and not both"),
        (b"[]", "is malformed"),
        (b"{", "is malformed"),
        (b"[" * 100_000, "is malformed"),
        (b"\xff", "is malformed"),
    ],
    # The key is another one in each process.
    ids=range(8),
)
def test_other_documents(document: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        parse_bundle(document).verified_statement(KEY.public)


@pytest.mark.parametrize("signatures", [0, 2])
def test_several_signatures(signatures: int) -> None:
    envelope = json.loads(BUNDLE)["dsseEnvelope"]
    envelope["signatures"] *= signatures
    with pytest.raises(ImageError, match="exactly one signature"):
        parse_bundle(changed(dsseEnvelope=envelope)).verified_statement(KEY.public)


def test_a_signed_text_that_is_no_statement() -> None:
    signed = b"DSSEv1 10 text/plain 5 hello"
    envelope = {
        "payload": base64_text(b"hello"),
        "payloadType": "text/plain",
        "signatures": [{"sig": base64_text(KEY.sign(signed))}],
    }
    with pytest.raises(ImageError, match="'text/plain', not a statement"):
        parse_bundle(changed(dsseEnvelope=envelope)).verified_statement(KEY.public)


@pytest.mark.tools
def test_signatures_without_an_envelope(tmp_path: Path) -> None:
    """Made by openssl, of a manifest itself."""
    private, public = make_key_pair(tmp_path)
    manifest = b'{"schemaVersion": 2}'
    signature = openssl("dgst", "-sha256", "-sign", private, stdin=manifest).stdout
    key = parse_public_key(public.read_bytes(), "x")
    message = {
        "messageDigest": {
            "algorithm": "SHA2_256",
            "digest": base64_text(hashlib.sha256(manifest).digest()),
        },
        "signature": base64_text(signature),
    }
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "verificationMaterial": {"publicKey": {"hint": key.hint}},
        "messageSignature": message,
    }
    bundle = parse_bundle(json.dumps(document).encode())
    assert not bundle.has_envelope
    bundle.check_message(key, manifest)
    with pytest.raises(ImageError, match="for another manifest"):
        bundle.check_message(key, manifest + b" ")
    with pytest.raises(ImageError, match="another key"):
        bundle.check_message(KEY.public, manifest)
    with pytest.raises(ImageError, match="no envelope"):
        bundle.verified_statement(key)
    del document["messageSignature"]["messageDigest"]  # type: ignore[attr-defined]
    bundle = parse_bundle(json.dumps(document).encode())
    bundle.check_message(key, manifest)
    with pytest.raises(ImageError, match="not of this key"):
        bundle.check_message(key, manifest + b" ")


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("ghcr.io/me/app", "ghcr.io/me/app"),
        ("ghcr.io/me/app:v1", "ghcr.io/me/app:v1"),
        ("ghcr.io/me/app:latest", "ghcr.io/me/app:latest"),
        ("docker://ghcr.io:443/me/app", "ghcr.io:443/me/app"),
        ("app:v1", "docker.io/library/app:v1"),
        (f"ghcr.io/me/app@{DIGEST}", f"ghcr.io/me/app@{DIGEST}"),
    ],
)
def test_identities_are_names_in_full(text: str, identity: str) -> None:
    """Podman parses them, and refuses signatures with others."""
    assert identity_of(text) == identity


@pytest.mark.parametrize("text", ["", "a b", "ghcr.io/me/app:", "https://ghcr.io/me/app"])
def test_identities_that_are_no_names(text: str) -> None:
    with pytest.raises(InputError, match="is not an image reference"):
        identity_of(text)


def test_the_payload_is_that_of_cosign() -> None:
    payload = payload_of(Claim(DIGEST, "ghcr.io/me/app"))
    assert payload == (
        b'{"critical":{"identity":{"docker-reference":"ghcr.io/me/app"},'
        b'"image":{"docker-manifest-digest":"%b"},'
        b'"type":"cosign container image signature"},"optional":null}' % DIGEST.encode()
    )
    assert parse_payload(payload) == Claim(DIGEST, "ghcr.io/me/app")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"cosign container image signature", b"atomic container signature", "is of the type"),
        (b'"type"', b'"kind"', "malformed"),
        (b"{", b'{"critical": 1,', "twice"),
        (b"}", b"", "JSON"),
    ],
)
def test_other_payloads(old: bytes, new: bytes, reason: str) -> None:
    payload = payload_of(Claim(DIGEST, "x")).replace(old, new, 1)
    with pytest.raises(ImageError, match=reason):
        parse_payload(payload)


@given(st.binary(max_size=40))
def test_base64_has_one_form(data: bytes) -> None:
    assert base64_bytes(base64_text(data)) == data


@pytest.mark.parametrize("text", ["AB==", "AA=", "AA==\n", "A A==", "AA==AA==", "-_-_", "é"])
def test_other_forms_of_base64(text: str) -> None:
    with pytest.raises(ValueError, match="it is not Base64"):
        base64_bytes(text)


def test_types_of_predicates() -> None:
    assert predicate_type("spdx") == predicate_type("spdxjson") == "https://spdx.dev/Document"
    assert predicate_type("https://x.example/y") == "https://x.example/y"
    for text in ("sbom", "", "https://x y", "HTTPS:"):
        with pytest.raises(InputError, match="is not a type of attestations"):
            predicate_type(text)


@pytest.mark.parametrize(
    "statement",
    [
        b"{}",
        b'{"_type": "https://in-toto.io/Statement/v9", "subject": [], "predicateType": "x"}',
        b'{"_type": "https://in-toto.io/Statement/v1", "subject": {}, "predicateType": "x"}',
    ],
)
def test_other_statements(statement: bytes) -> None:
    with pytest.raises(ImageError, match="the statement"):
        parse_statement(statement)
