"""Signing images in a registry, and what is no signature of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from nixdock import (
    Access,
    ImageError,
    InputError,
    OutputError,
    RegistryError,
    SignatureError,
    attest_image,
    generate_key_pair,
    sign_image,
    verify_attestation,
    verify_signature,
)
from nixdock.attach.subject import open_subject
from nixdock.errors import NixdockError
from nixdock.oci.attachment import attach_content
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import hex_of
from nixdock.oci.location import location_of
from nixdock.signing.bundle import BUNDLE, signed_bundle
from nixdock.signing.keys import parse_signing_key
from nixdock.signing.statement import SIGNATURE_TYPE, predicate_type, signature_statement

from ..registry.fake_registry import FakeRegistry, Fault, digest_of
from ..registry.reaching import Clock, reach
from ..registry.virtual_time import run_together
from .conftest import INDEX, MANIFEST, PASSWORD, Pair, manifest_document
from .independent import verifies

FORMS = ["bundle", "tag"]
# For what has nothing to do with who keeps the lists of referrers.
one_registry = pytest.mark.parametrize("fake", [True], indirect=True, ids=["listed"])
# Its digest stands for that of the image.
_OWN: dict[str, Any] = {"digest": {"sha256": "f" * 64}}


def _statement(kind: str = "x:y", **changes: Any) -> str:
    """A statement about the image alone, but for the changes."""
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_OWN],
        "predicateType": kind if ":" in kind else predicate_type(kind),
        "predicate": {},
    }
    return json.dumps(document | changes)


def sign(reference: str, pair: Pair, access: Access, **options: Any) -> Any:
    return sign_image(reference, pair.private, password=PASSWORD, access=access, **options)


def signature_list(fake: FakeRegistry, digest: str) -> dict[str, Any]:
    stored = fake.manifest("app", f"{digest.replace(':', '-')}.sig")
    assert stored is not None and stored.media_type == MANIFEST
    document: dict[str, Any] = json.loads(stored.data)
    return document


def replace_list(fake: FakeRegistry, digest: str, document: dict[str, Any]) -> None:
    fake.add_manifest("app", document, f"{digest.replace(':', '-')}.sig")


def bundles(fake: FakeRegistry) -> list[dict[str, Any]]:
    found = (json.loads(stored.data) for stored in fake.manifests["app"].values())
    return [each for each in found if "sigstore" in each.get("artifactType", "")]


def test_signed_in_both_forms_once(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    with pytest.raises(SignatureError, match="it has no signatures"):
        verify_signature(reference, pair.public, access=access)
    (signed,) = sign(reference, pair, access)
    assert (signed.digest, signed.added) == (digest, ("bundle", "tag"))
    assert signed.place == f"{fake.host}/app@{digest}"
    requests = len(fake.requests("PUT|POST"))
    (again,) = sign(reference, pair, access)
    assert again.added == ()
    assert len(fake.requests("PUT|POST")) == requests
    for name in (reference, f"docker://{fake.host}/app@{digest}"):
        found = verify_signature(name, pair.public, access=access)
        assert (found.digest, found.forms) == (digest, ("bundle", "tag"))


@pytest.mark.parametrize("form", FORMS)
def test_signed_in_one_form(
    form: str, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    sign(reference, pair, access, forms=[form])
    assert verify_signature(reference, pair.public, access=access).forms == (form,)
    with pytest.raises(InputError, match="are not forms"):
        sign(reference, pair, access, forms=["gpg"])


@one_registry
@pytest.mark.tools
def test_what_cosign_would_write(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    sign(reference, pair, access)
    document = signature_list(fake, digest)
    (layer,) = document["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = fake.blobs["app"][layer["digest"]]
    assert json.loads(payload)["critical"]["image"]["docker-manifest-digest"] == digest
    assert json.loads(payload)["critical"]["identity"]["docker-reference"] == f"{fake.host}/app"
    signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    assert verifies(pair.public, payload, signature)
    config = json.loads(fake.blobs["app"][document["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    (bundle,) = bundles(fake)
    assert bundle["subject"]["digest"] == digest
    assert bundle["annotations"] == {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
    }
    assert bundle["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert [each["mediaType"] for each in bundle["layers"]] == [
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    ]


def test_signatures_of_others_are_kept(
    fake: FakeRegistry,
    digest: str,
    reference: str,
    pair: Pair,
    other_pair: Pair,
    access: Access,
) -> None:
    sign(reference, other_pair, access)
    document = signature_list(fake, digest)
    document["annotations"] = {"mine": "kept"}
    document["layers"][0]["annotations"]["dev.sigstore.cosign/bundle"] = "{}"
    replace_list(fake, digest, document)
    sign(reference, pair, access)
    after = signature_list(fake, digest)
    assert after["annotations"] == {"mine": "kept"}
    assert after["layers"][0] == document["layers"][0]
    assert len(after["layers"]) == len(bundles(fake)) == 2
    config = json.loads(fake.blobs["app"][after["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in after["layers"]]
    for each in (pair, other_pair):
        assert verify_signature(reference, each.public, access=access).forms == ("bundle", "tag")


def test_another_key(reference: str, pair: Pair, other_pair: Pair, access: Access) -> None:
    sign(reference, other_pair, access)
    with pytest.raises(SignatureError) as caught:
        verify_signature(reference, pair.public, access=access)
    assert len(caught.value.reasons) == 2
    assert "the bundle has been signed with another key" in caught.value.reasons[0]
    assert "signature 1 in sha256-" in caught.value.reasons[1]
    assert caught.value.exit_status == 1


def test_signatures_of_another_image(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    """Someone who can write to the registry lets them refer to this one."""
    fake.add_manifest("app", manifest_document(fake, "other"), "v2")
    (other,) = sign(f"docker://{fake.host}/app:v2", pair, access)
    replace_list(fake, digest, signature_list(fake, other.digest))
    (bundle,) = bundles(fake)
    bundle["subject"] = {**bundle["subject"], "digest": digest}
    moved = fake.add_manifest("app", bundle)
    if not fake.referrers:
        entry = {"mediaType": MANIFEST, "digest": moved, "size": 1, "artifactType": bundle["artifactType"]}  # fmt: skip # noqa: E501
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        fake.add_manifest("app", index, digest.replace(":", "-"))
    with pytest.raises(SignatureError) as caught:
        verify_signature(reference, pair.public, access=access)
    assert [each.partition(": ")[2] for each in caught.value.reasons] == [
        "it is for another manifest",
        f"it is for {other.digest}, another manifest",
    ]


@one_registry
def test_a_moved_tag(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    sign(reference, pair, access)
    fake.add_manifest("app", manifest_document(fake, "evil"), "v1")
    with pytest.raises(SignatureError, match="is not signed with the key"):
        verify_signature(reference, pair.public, access=access)
    found = verify_signature(f"docker://{fake.host}/app@{digest}", pair.public, access=access)
    assert found.digest == digest


@one_registry
@pytest.mark.parametrize("form", FORMS)
def test_flipped_bits(
    form: str,
    fake: FakeRegistry,
    digest: str,
    reference: str,
    pair: Pair,
    access: Access,
) -> None:
    """In what the registry stores of a signature, and in the image's manifest."""
    before = {name: set(each) for name, each in (("b", fake.blobs["app"]), ("m", fake.manifests["app"]))}  # fmt: skip # noqa: E501
    sign(reference, pair, access, forms=[form])
    payloads = [
        digest
        for digest in fake.blobs["app"].keys() - before["b"]
        if b"diff_ids" not in fake.blobs["app"][digest] and fake.blobs["app"][digest] != b"{}"
    ]
    assert len(payloads) == 1
    (payload,) = payloads
    original = fake.blobs["app"][payload]
    for place in range(0, len(original) * 8, 211):
        damaged = bytearray(original)
        damaged[place // 8] ^= 1 << place % 8
        fake.blobs["app"][payload] = bytes(damaged)
        with pytest.raises(SignatureError, match="damaged"):
            verify_signature(reference, pair.public, access=access)
    fake.blobs["app"][payload] = original
    stored = fake.manifests["app"][digest]
    image = bytearray(stored.data)
    image[image.index(b"sha256:") + 10] ^= 1
    fake.manifests["app"][digest] = type(stored)(stored.media_type, bytes(image))
    with pytest.raises(NixdockError):
        verify_signature(reference, pair.public, access=access)


@one_registry
def test_flipped_bits_of_a_signature_in_the_list(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    """The list is found by its tag, so nothing but the signature vouches for it."""
    sign(reference, pair, access, forms=["tag"])
    document = signature_list(fake, digest)
    key = "dev.cosignproject.cosign/signature"
    original = base64.b64decode(document["layers"][0]["annotations"][key])
    for place in range(0, len(original) * 8, 41):
        damaged = bytearray(original)
        damaged[place // 8] ^= 1 << place % 8
        document["layers"][0]["annotations"][key] = base64.b64encode(damaged).decode()
        replace_list(fake, digest, document)
        with pytest.raises(SignatureError, match="it is not of this key, or it is damaged"):
            verify_signature(reference, pair.public, access=access)


@one_registry
@pytest.mark.parametrize(
    "change",
    [
        {"layers": []},
        {"layers": [{"mediaType": "text/plain", "digest": "sha256:" + "0" * 64, "size": 1}]},
        {"layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                     "digest": "../../etc/passwd", "size": 1,
                     "annotations": {"dev.cosignproject.cosign/signature": "AAAA"}}]},
        {"layers": 1},
        {"config": None},
    ],
)  # fmt: skip
def test_lists_that_are_none(
    change: dict[str, Any],
    fake: FakeRegistry,
    digest: str,
    reference: str,
    pair: Pair,
    access: Access,
) -> None:
    sign(reference, pair, access, forms=["tag"])
    replace_list(fake, digest, {**signature_list(fake, digest), **change})
    with pytest.raises(SignatureError):
        verify_signature(reference, pair.public, access=access)


@one_registry
def test_a_huge_payload_is_not_read(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    sign(reference, pair, access, forms=["tag"])
    document = signature_list(fake, digest)
    document["layers"][0]["size"] = 1 << 40
    replace_list(fake, digest, document)
    fake.log.clear()
    with pytest.raises(SignatureError, match="but may have at most"):
        verify_signature(reference, pair.public, access=access)
    assert not fake.requests("GET", "/blobs/")


def test_a_damaged_signature_does_not_hide_a_right_one(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, other_pair: Pair, access: Access
) -> None:
    sign(reference, other_pair, access)
    for layer in (*signature_list(fake, digest)["layers"], *bundles(fake)[0]["layers"]):
        del fake.blobs["app"][layer["digest"]]
    sign(reference, pair, access)
    assert verify_signature(reference, pair.public, access=access).forms == ("bundle", "tag")


@one_registry
def test_an_index_and_its_images(fake: FakeRegistry, pair: Pair, access: Access) -> None:
    entries = []
    for name in ("amd64", "arm64"):
        found = fake.add_manifest("app", manifest_document(fake, name))
        size = len(fake.manifests["app"][found].data)
        platform = {"os": "linux", "architecture": name}
        entries.append({"mediaType": MANIFEST, "digest": found, "size": size, "platform": platform})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    own = fake.add_manifest("app", index, "all")
    reference = f"docker://{fake.host}/app:all"
    (signed,) = sign(reference, pair, access)
    assert signed.digest == own
    with pytest.raises(SignatureError):
        verify_signature(
            f"docker://{fake.host}/app@{entries[0]['digest']}", pair.public, access=access
        )
    everything = sign(reference, pair, access, recursive=True)
    assert [each.digest for each in everything] == [own, *(each["digest"] for each in entries)]
    assert [bool(each.added) for each in everything] == [False, True, True]
    for each in everything:
        assert (
            verify_signature(f"docker://{each.place}", pair.public, access=access).digest
            == each.digest
        )


@one_registry
def test_the_identity(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    sign(reference, pair, access)
    sign(reference, pair, access, identity="ghcr.io/me/app:v1")
    identities = [
        json.loads(fake.blobs["app"][each["digest"]])["critical"]["identity"]["docker-reference"]
        for each in signature_list(fake, digest)["layers"]
    ]
    assert identities == [f"{fake.host}/app", "ghcr.io/me/app:v1"]
    assert len(bundles(fake)) == 1


@one_registry
def test_a_list_is_sent_again_only_after_it_is_read_again(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    fake.faults.append(Fault(method="PUT", path=r"\.sig$", status=503, times=2))
    (signed,) = sign(reference, pair, access, forms=["tag"])
    assert signed.added == ("tag",)
    routes = fake.routes("GET|PUT", r"\.sig$")
    assert [route.partition(" ")[0] for route in routes] == ["GET", "PUT"] * 3 + ["GET"]


@one_registry
def test_a_list_that_was_stored_though_the_answer_is_an_error_is_signed_now(
    fake: FakeRegistry, digest: str
) -> None:
    from nixdock.registry.repository import Repository
    from nixdock.signing.adding import add_to_list
    from nixdock.signing.keys import SigningKey

    key = SigningKey.generate()
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            assert add_to_list(Repository(reach(fake), "app", is_target=True), digest, "x", key)

    fake.faults.append(Fault(method="PUT", path=r"\.sig$", status=503))
    transport = reach(fake, pace=clock.pace(sleep=sleep))
    own = Repository(transport, "app", is_target=True)
    assert add_to_list(own, digest, "x", key)
    assert not add_to_list(own, digest, "x", key)
    assert len(signature_list(fake, digest)["layers"]) == 1


@one_registry
def test_signers_at_the_same_time_lose_nothing(fake: FakeRegistry, digest: str, pair: Pair) -> None:
    from nixdock.registry.repository import Repository
    from nixdock.signing.adding import add_to_list
    from nixdock.signing.keys import SigningKey

    keys = [SigningKey.generate() for _ in range(4)]
    delays = iter([0.01 * (i * 7 % 5) for i in range(10_000)])

    def job(key: SigningKey) -> Any:
        return lambda transport: add_to_list(
            Repository(transport, "app", is_target=True), digest, "x", key
        )

    run_together(fake.host, [job(key) for key in keys], lambda: next(delays))
    assert len(signature_list(fake, digest)["layers"]) == len(keys)


def test_attestations(
    fake: FakeRegistry,
    digest: str,
    reference: str,
    pair: Pair,
    other_pair: Pair,
    access: Access,
    tmp_path: Path,
) -> None:
    predicate = tmp_path / "app.spdx.json"
    predicate.write_text('{"spdxVersion":  "SPDX-2.3", "n": 12345678901234567890123}\n')

    def attest(pair: Pair, file: Path = predicate, kind: str | None = "spdx") -> Any:
        return attest_image(reference, pair.private, file, kind, password=PASSWORD, access=access)

    assert attest(pair).added == ("bundle",)
    assert attest(pair).added == ()
    assert attest(other_pair).added == ("bundle",)
    (found,) = verify_attestation(reference, pair.public, "spdx", access=access)
    document = json.loads(found)
    assert document["predicateType"] == "https://spdx.dev/Document"
    assert document["subject"] == [{"name": f"{fake.host}/app", "digest": {"sha256": digest[7:]}}]
    assert document["predicate"]["n"] == 12345678901234567890123
    for kind in ("cyclonedx", "https://sigstore.dev/cosign/sign/v1"):
        with pytest.raises(SignatureError, match="has no attestation of the type"):
            verify_attestation(reference, pair.public, kind, access=access)
    with pytest.raises(SignatureError, match="not a signature"):
        verify_signature(reference, pair.public, access=access)
    statement = tmp_path / "statement.json"
    statement.write_bytes(found + b"\n")
    assert attest(pair, statement, None).added == ()
    assert attest(pair, statement).added == ()


@one_registry
@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("{}", None, "say of which type"),
        ("[1]", None, "has no JSON object"),
        ("5", "spdx", "has no JSON object"),
        ("{", "spdx", "is not valid JSON"),
        ('{"a": 1, "a": 2}', "spdx", "the key 'a' appears twice"),
        ("{}", "sbom", "is not a type of attestations"),
        ("{}", SIGNATURE_TYPE, "would be a signature of the image"),
        ('{"_type": "x"}', None, "malformed"),
        (_statement(subject=[{"digest": {"sha256": "00"}}]), None, "about another image"),
        (_statement(predicateType=SIGNATURE_TYPE), None, "would be a signature of the image"),
        (_statement(predicate=5), None, "a predicate that is not a JSON object"),
        (_statement(note="x"), None, "a key that no statement has: 'note'"),
        (_statement(Subject=[]), None, "is ambiguous: it has the key 'Subject'"),
        (_statement("spdx"), "cyclonedx", "is of the type"),
        # Whoever has these signed has signed something about another image.
        (_statement(subject=[_OWN, {"digest": {"sha256": "00"}}]), None, "about other things"),
        (_statement(subject=[_OWN, {"digest": {"sha512": "00"}}]), None, "about other things"),
        (
            _statement(subject=[{"digest": {**_OWN["digest"], "sha512": "00"}}]),
            None,
            "about other things",
        ),
        (
            _statement().replace('"subject":', '"subject": [{"digest": {}}], "subject":'),
            None,
            "the key 'subject' appears twice",
        ),
    ],
)
def test_wrong_attestations(
    text: str,
    kind: str | None,
    reason: str,
    *,
    fake: FakeRegistry,
    digest: str,
    reference: str,
    pair: Pair,
    access: Access,
    tmp_path: Path,
) -> None:
    file = tmp_path / "file.json"
    file.write_text(text.replace(_OWN["digest"]["sha256"], hex_of(digest)))
    with pytest.raises(InputError, match=reason) as caught:
        attest_image(reference, pair.private, file, kind, password=PASSWORD, access=access)
    assert caught.value.path == str(file) or kind == "sbom"
    assert not fake.requests("PUT|POST")


@one_registry
def test_a_statement_about_several_images_is_no_signature(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    """It could have been signed for the sake of another one."""
    document = json.loads(signature_statement(digest))
    document["subject"].append({"digest": {"sha256": "0" * 64}})
    key = parse_signing_key(pair.private.read_bytes(), "the key", lambda: PASSWORD)
    bundle = Blob(BUNDLE, signed_bundle(json.dumps(document).encode(), key))
    with open_subject(location_of(reference), None, access, attaching=True) as subject:
        subject.attach([attach_content(subject.manifest.descriptor(), bundle, {})])
    with pytest.raises(SignatureError, match="it is for other things, too"):
        verify_signature(reference, pair.public, access=access)


@one_registry
def test_a_large_attestation(reference: str, pair: Pair, access: Access, tmp_path: Path) -> None:
    """A bill of materials may be larger than the documents of images."""
    file = tmp_path / "large.json"
    file.write_text(json.dumps({"packages": [{"name": f"package-{i}"} for i in range(250_000)]}))
    assert file.stat().st_size > 5 << 20
    attest_image(reference, pair.private, file, "spdx", password=PASSWORD, access=access)
    (found,) = verify_attestation(reference, pair.public, "spdx", access=access)
    assert len(json.loads(found)["predicate"]["packages"]) == 250_000


@one_registry
def test_the_password(reference: str, pair: Pair, access: Access, fake: FakeRegistry) -> None:
    for password in (b"wrong", None):
        with pytest.raises(InputError, match="password"):
            sign_image(reference, pair.private, password=password, access=access)
    with pytest.raises(InputError, match="sign with the private one"):
        sign_image(reference, pair.public, password=PASSWORD, access=access)
    with pytest.raises(InputError, match="are verified with the public one"):
        verify_signature(reference, pair.private, access=access)
    assert not fake.log, "the registry is asked when the key is known to be right"


@one_registry
def test_an_image_that_is_not_there(
    fake: FakeRegistry, digest: str, pair: Pair, access: Access
) -> None:
    for action in (
        lambda: sign(f"docker://{fake.host}/app:none", pair, access),
        lambda: verify_signature(f"docker://{fake.host}/app:none", pair.public, access=access),
    ):
        with pytest.raises(RegistryError, match="has no image none"):
            action()


@one_registry
def test_a_list_that_is_an_index(
    fake: FakeRegistry, digest: str, reference: str, pair: Pair, access: Access
) -> None:
    replace_list(fake, digest, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    with pytest.raises(ImageError, match="is an index, not a list of signatures"):
        sign(reference, pair, access)
    # The bundle has been added, and is enough.
    assert verify_signature(reference, pair.public, access=access).forms == ("bundle",)


def test_a_key_pair_is_never_replaced(tmp_path: Path) -> None:
    files = tmp_path / "k.key", tmp_path / "k.pub"
    generate_key_pair(*files, PASSWORD)
    assert files[0].stat().st_mode & 0o777 == 0o600
    data = [file.read_bytes() for file in files]
    for lost in files:
        with pytest.raises(OutputError, match="exists, and a key must not be lost"):
            generate_key_pair(*files, PASSWORD)
        lost.unlink()
        with pytest.raises(OutputError, match="exists, and a key must not be lost"):
            generate_key_pair(*files, PASSWORD)
        lost.write_bytes(data[files.index(lost)])
    assert [file.read_bytes() for file in files] == data
    key = parse_signing_key(data[0], "x", lambda: PASSWORD)
    assert key.public.pem == data[1]
    assert digest_of(data[1])
