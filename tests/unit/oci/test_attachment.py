"""Attachments: the bytes of their manifests, and how lists name them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from nixdock.errors import ImageError, InputError
from nixdock.oci.attachment import attach_content, check_artifact_type
from nixdock.oci.descriptor import Blob, Descriptor, Platform
from nixdock.oci.referrers import referrer_entry, referrer_of, referrers_tag

from ..image_schemas import schema_errors

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SUBJECT = Descriptor(
    MANIFEST, f"sha256:{'5' * 64}", 1234, {"org.opencontainers.image.ref.name": "v1"}, Platform()
)
# Longer than a tag may be, and with characters that tags can't have.
LONG = f"test+algorithm+{'with+separators+' * 5}:some=encoded={'Part=' * 30}"
SPDX = Blob("application/spdx+json", b'{"spdxVersion": "SPDX-2.3"}')


def test_a_manifest_refers_to_its_subject() -> None:
    attachment = attach_content(SUBJECT, SPDX, {"by": "me"}, title="app.spdx.json")
    document = json.loads(attachment.manifest.data)
    assert schema_errors("image-manifest-schema.json", document) == []
    assert document == {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/spdx+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
            "data": "e30=",
        },
        "layers": [
            {
                "mediaType": "application/spdx+json",
                "digest": SPDX.digest,
                "size": len(SPDX.data),
                "annotations": {"org.opencontainers.image.title": "app.spdx.json"},
            }
        ],
        "subject": {"mediaType": MANIFEST, "digest": SUBJECT.digest, "size": 1234},
        "annotations": {"by": "me"},
    }
    assert [blob.data for blob in attachment.blobs] == [b"{}", SPDX.data]
    assert attachment.content == SPDX
    assert attachment == attach_content(SUBJECT, SPDX, {"by": "me"}, title="app.spdx.json")


def test_the_type_may_be_another_than_that_of_the_content() -> None:
    attachment = attach_content(SUBJECT, SPDX, artifact_type="application/vnd.example")
    document = json.loads(attachment.manifest.data)
    assert document["artifactType"] == "application/vnd.example"
    assert document["layers"][0]["mediaType"] == "application/spdx+json"
    assert "annotations" not in document
    assert referrer_entry(attachment.manifest)["artifactType"] == "application/vnd.example"


@pytest.mark.parametrize(
    ("digest", "tag"),
    [
        (f"sha256:{'a' * 64}", f"sha256-{'a' * 64}"),
        (f"sha512:{'a' * 128}", f"sha512-{'a' * 64}"),
        (LONG, f"{LONG[:32]}-{LONG.partition(':')[2][:64]}".replace("+", "-").replace("=", "-")),
    ],
)
def test_tags_of_lists(digest: str, tag: str) -> None:
    assert referrers_tag(digest) == tag
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag)


@pytest.mark.parametrize("text", ["application/spdx+json", "a/b", "application/vnd.x.v1.2_3-4"])
def test_types(text: str) -> None:
    assert check_artifact_type(text) == text


@pytest.mark.parametrize(
    "text", ["", "spdx", "a/", "/b", "a/b/c", "a/b; c=d", "a /b", "é/b", "a/b\n", "-a/b"]
)
def test_no_types(text: str) -> None:
    with pytest.raises(InputError, match="expected a media type"):
        check_artifact_type(text)


@pytest.mark.parametrize(
    "document",
    [{"subject": 1}, {"subject": {"mediaType": "a/b"}}, {"annotations": {"a": 1}}, [], "text"],
)
def test_malformed_manifests(document: Any) -> None:
    with pytest.raises(ImageError):
        referrer_of(Blob(MANIFEST, json.dumps(document).encode()))
