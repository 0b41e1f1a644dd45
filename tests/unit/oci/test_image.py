"""Images: the bytes of their config, manifest and index."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from nixdock.oci.descriptor import Blob, Descriptor, Platform, canonical_json
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.reference import Reference

TAR = "application/vnd.oci.image.layer.v1.tar"
LAYERS = (
    LayerBlob(f"sha256:{'1' * 64}", f"sha256:{'2' * 64}", 10240, TAR, LayerHistory("n", "libc")),
    LayerBlob(
        f"sha256:{'3' * 64}", f"sha256:{'4' * 64}", 99, f"{TAR}+gzip", LayerHistory("n", "é")
    ),
    LayerBlob(f"sha256:{'1' * 64}", f"sha256:{'2' * 64}", 10240, TAR, LayerHistory("n", "again")),
)


def image(name: str = "x/y", tag: str = "V1", **changes: Any) -> Image:
    values: dict[str, Any] = {
        "references": [Reference.of(name, tag)],
        "platform": Platform("arm64", variant="v8"),
        "container": {"Env": ["A=ü"], "Cmd": ["/bin/app"]},
        "created": "1970-01-01T00:00:01Z",
    }
    return Image.of(LAYERS, **(values | changes))


def test_canonical_json() -> None:
    value = {"b": [1, {"z": None, "a": True}], "a": "é\n\u2028", "B": {}}
    assert canonical_json(value) == (
        '{"B":{},"a":"é\\n\u2028","b":[1,{"a":true,"z":null}]}'.encode()
    )
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_config() -> None:
    config = image().config
    created = "1970-01-01T00:00:01Z"
    assert config.media_type == "application/vnd.oci.image.config.v1+json"
    assert config.data == canonical_json(json.loads(config.data))
    assert json.loads(config.data) == {
        "created": created,
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "config": {"Env": ["A=ü"], "Cmd": ["/bin/app"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{digit * 64}" for digit in "131"],
        },
        "history": [
            {"created": created, "created_by": "n", "comment": comment}
            for comment in ("libc", "é", "again")
        ],
    }


def test_a_platform_without_a_variant() -> None:
    config = json.loads(image(platform=Platform("amd64")).config.data)
    assert "variant" not in config
    assert config["architecture"] == "amd64"


def test_manifest() -> None:
    built = image()
    assert built.manifest.media_type == "application/vnd.oci.image.manifest.v1+json"
    assert built.manifest.data == canonical_json(json.loads(built.manifest.data))
    assert json.loads(built.manifest.data) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{hashlib.sha256(built.config.data).hexdigest()}",
            "size": len(built.config.data),
        },
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
            for layer in LAYERS
        ],
    }


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("x", "docker.io/library/x:V1"),
        ("x/y", "docker.io/x/y:V1"),
        ("Quay.IO/X", "quay.io/x:V1"),
        ("localhost:5000/x", "localhost:5000/x:V1"),
    ],
)
def test_index_names_the_image(name: str, canonical: str) -> None:
    built = image(name)
    assert json.loads(built.index()) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": f"sha256:{hashlib.sha256(built.manifest.data).hexdigest()}",
                "size": len(built.manifest.data),
                "annotations": {
                    "io.containerd.image.name": canonical,
                    "org.opencontainers.image.ref.name": "V1",
                },
                "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
            }
        ],
    }
    assert built.index() == canonical_json(json.loads(built.index()))


def test_docker_manifest() -> None:
    data = image("Quay.io/X").docker_manifest("c.json", iter(["1", "2", "1"]))
    assert json.loads(data) == [
        {"Config": "c.json", "RepoTags": ["quay.io/x:V1"], "Layers": ["1", "2", "1"]}
    ]


def test_several_names() -> None:
    names = [Reference.of("x", "1"), Reference.of("x", "2"), Reference.of("quay.io/y", "1")]
    built = image(references=names)
    assert built.reference == names[0]
    listed = json.loads(built.index())["manifests"]
    assert [entry.pop("annotations") for entry in listed] == [
        {"io.containerd.image.name": full, "org.opencontainers.image.ref.name": tag}
        for full, tag in (
            ("docker.io/library/x:1", "1"),
            ("docker.io/library/x:2", "2"),
            ("quay.io/y:1", "1"),
        )
    ]
    assert listed[1:] == listed[:1] * 2, "all are the same manifest"
    (entry,) = json.loads(built.docker_manifest("c.json", []))
    assert entry["RepoTags"] == ["x:1", "x:2", "quay.io/y:1"]
    assert built.manifest == image().manifest


def test_digests_do_not_depend_on_the_name() -> None:
    assert image("a", "1").manifest.digest == image("b", "2").manifest.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "1970-01-01T00:00:02Z"},
        {"container": {}},
        {"platform": Platform("amd64", variant="v8")},
    ],
)
def test_digests_depend_on_the_config(changes: dict[str, Any]) -> None:
    assert image(**changes).manifest.digest != image().manifest.digest


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    other = image(container={"Cmd": ["/bin/app"], "Env": ["A=ü"]})
    assert other.manifest.digest == image().manifest.digest


# These must never change: a rebuilt image is the same image.
def test_digests() -> None:
    assert (
        image().config.digest
        == "sha256:e4ba19d5252daad7e79af9820c3343cd84e5a2dc0eb32dc5ea307888e4423a36"
    )
    assert (
        image().manifest.digest
        == "sha256:c6f9a8b57ab22b636978ac18866f83587283cf37b75d697fca0f69066468157b"
    )
    assert (
        Blob("x", image().index()).digest
        == "sha256:808372ed87bf0fc582434865567ec3dbbec1d3d7f24da93c21ffb707b75dac0f"
    )


def test_descriptors() -> None:
    blob = Blob("type", b"abc")
    descriptor = blob.descriptor({"k": "v"})
    assert descriptor == Descriptor("type", blob.digest, 3, {"k": "v"})
    assert replace(descriptor, annotations={}).document() == {
        "mediaType": "type",
        "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size": 3,
    }
