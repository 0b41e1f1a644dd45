"""Signatures in a real registry, read from it and verified by other programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

import nixdock
from nixdock.network.retrying import Pace
from tests.unit.signing.independent import verifies

from .registry import Registry
from .tiny_image import TinyImage

pytestmark = pytest.mark.runtime

ACCESS = nixdock.Access(pace=Pace(sleep=lambda _: None), find=lambda *_: None)
TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


def fetch(registry: Registry, repository: str, kind: str, name: str) -> bytes:
    url = f"{registry.url}/v2/{repository}/{kind}/{name}"
    with urlopen(Request(url, headers={"Accept": TYPES})) as response:
        data: bytes = response.read()
    return data


def manifest(registry: Registry, repository: str, name: str) -> Any:
    return json.loads(fetch(registry, repository, "manifests", name))


def test_openssl_verifies_what_the_registry_has(
    tmp_path: Path, registry: Registry, repository: str, tiny_archive: TinyImage
) -> None:
    """Debian's registry lists no referrers, so the list is kept under a tag."""
    password = b"correct horse"
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    nixdock.generate_key_pair(private, public, password)
    reference = f"docker://{registry.reference(repository, 'v1')}"
    nixdock.copy_image(str(tiny_archive.archive), reference, access=ACCESS)
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"built": true}')
    for _ in range(2):
        (signed,) = nixdock.sign_image(reference, private, password=password, access=ACCESS)
        nixdock.attest_image(
            reference, private, predicate, "https://x.example/y", password=password, access=ACCESS
        )
    tag = signed.digest.replace(":", "-")
    assert nixdock.list_tags(f"{registry.address}/{repository}", access=ACCESS) == [
        tag,
        f"{tag}.sig",
        "v1",
    ]
    (layer,) = manifest(registry, repository, f"{tag}.sig")["layers"]
    payload = fetch(registry, repository, "blobs", layer["digest"])
    signature = layer["annotations"]["dev.cosignproject.cosign/signature"]
    assert verifies(public, payload, base64.b64decode(signature))
    assert json.loads(payload)["critical"]["image"]["docker-manifest-digest"] == signed.digest
    found = set()
    for entry in manifest(registry, repository, tag)["manifests"]:
        (layer,) = manifest(registry, repository, entry["digest"])["layers"]
        bundle = json.loads(fetch(registry, repository, "blobs", layer["digest"]))
        envelope = bundle["dsseEnvelope"]
        statement = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"]
        message = f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement
        (each,) = envelope["signatures"]
        assert verifies(public, message, base64.b64decode(each["sig"]))
        found.add(entry["annotations"]["dev.sigstore.bundle.predicateType"])
    assert found == {"https://sigstore.dev/cosign/sign/v1", "https://x.example/y"}
    verified = nixdock.verify_signature(reference, public, access=ACCESS)
    assert verified.forms == ("bundle", "tag")
    assert len(nixdock.verify_attestation(reference, public, "https://x.example/y", access=ACCESS)) == 1  # fmt: skip # noqa: E501


def test_a_signed_image_can_be_pulled_by_its_digest(
    tmp_path: Path, registry: Registry, repository: str, tiny_archive: TinyImage
) -> None:
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    nixdock.generate_key_pair(private, public, b"")
    reference = f"docker://{registry.reference(repository, 'v1')}"
    nixdock.copy_image(str(tiny_archive.archive), reference, access=ACCESS)
    nixdock.sign_image(reference, private, password=b"", access=ACCESS)
    signed = nixdock.verify_signature(reference, public, access=ACCESS)
    target = tmp_path / "pulled.tar"
    nixdock.pull_image(signed.place, target, access=ACCESS)
    assert nixdock.inspect_image(target, quick=True).images[0].digest == signed.digest
