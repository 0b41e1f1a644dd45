"""Which images are checked: all that a runtime could choose, whatever lists say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nixdock import InputError, Policy, check_policy, copy_image, list_packages, parse_closure

from ..registry.fake_registry import FakeRegistry, fake_registry
from ..transfer.samples import INDEX, Sample, attestation, sample, store

POLICY = Policy(denied_paths=("gcc",))
GOOD = sample("sh")
BAD = sample("gcc", architecture="arm64")
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}
ATTESTS = {"vnd.docker.reference.type": "attestation-manifest"}
GRAPH = b'[{"path": "/nix/store/dddddddddddddddddddddddddddddddd-gcc-12", "references": []}]'


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        for image in (GOOD, BAD, sample("gcc"), attestation(GOOD)):
            store(registry, "x", image)
        yield registry


def index_of(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


def denied(place: str, platform: str | None = None) -> list[tuple[str | None, str | None]]:
    report = check_policy(place, POLICY, platform=platform)
    return [(finding.platform, finding.path) for finding in report.findings]


@pytest.mark.parametrize(
    ("entries", "platform"),
    [
        ([GOOD.descriptor(AMD64), BAD.descriptor(ARM64)], "linux/arm64"),
        ([GOOD.descriptor(), BAD.descriptor()], "linux/arm64"),
        ([GOOD.descriptor(AMD64), BAD.descriptor()], "linux/arm64"),
        ([GOOD.descriptor(), BAD.descriptor(ARM64)], "linux/arm64"),
        ([GOOD.descriptor(AMD64), BAD.descriptor(ARM64, annotations=ATTESTS)], "linux/arm64"),
        ([GOOD.descriptor(AMD64), BAD.descriptor(UNKNOWN)], "unknown/unknown"),
        ([GOOD.descriptor(AMD64), BAD.descriptor(UNKNOWN, annotations=ATTESTS)], "unknown/unknown"),
        ([GOOD.descriptor(AMD64), sample("gcc").descriptor(AMD64)], "linux/amd64"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_each_image_of_an_index(
    entries: list[dict[str, Any]],
    platform: str,
    nested: bool,
    local: bool,
    fake: FakeRegistry,
    tmp_path: Path,
) -> None:
    entries = [*entries, attestation(GOOD).descriptor(UNKNOWN, annotations=ATTESTS)]
    if nested:
        inner = fake.add_manifest("x", index_of(*entries[1:]))
        size = len(fake.manifests["x"][inner].data)
        entries = [entries[0], {"mediaType": INDEX, "digest": inner, "size": size}]
    fake.add_manifest("x", index_of(*entries), "v1")
    place = f"docker://{fake.host}/x:v1"
    if local:
        copy_image(place, f"oci:{tmp_path}/x", all_platforms=True)
        place = f"oci:{tmp_path}/x"
    assert denied(place) == [(platform, "/gcc")]
    if platform == "linux/arm64":
        assert denied(place, "linux/amd64") == []


def layout(directory: Path, entries: list[tuple[Sample, str | None]]) -> str:
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    listed = []
    for image, name in entries:
        for digest, data in {image.digest: image.manifest, **image.blobs}.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(data)
        named = {"org.opencontainers.image.ref.name": name} if name else {}
        listed.append(image.descriptor(annotations=named))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps(index_of(*listed)))
    return f"oci:{directory}"


def test_images_side_by_side(tmp_path: Path) -> None:
    """A file may have an image for several platforms without an index, or several images."""
    assert denied(layout(tmp_path / "one", [(GOOD, None), (BAD, None)])) == [
        ("linux/arm64", "/gcc")
    ]
    place = layout(tmp_path / "two", [(GOOD, "a"), (BAD, "b")])
    with pytest.raises(InputError, match=r"has 2 images: a, b; name one of them"):
        denied(place)
    assert denied(f"{place}:a") == []
    assert denied(f"{place}:b") == [(None, "/gcc")]
    place = layout(tmp_path / "names", [(BAD, "a"), (BAD, "b")])
    assert denied(place) == [(None, "/gcc")]


def test_a_platform_that_can_not_be_chosen() -> None:
    closure = parse_closure(GRAPH)
    for call in (
        lambda: check_policy(closure, POLICY, platform="linux/arm64"),
        lambda: list_packages(closure, platform="linux/arm64"),
    ):
        with pytest.raises(InputError, match="linux/arm64 can't be chosen"):
            call()


def test_metadata_that_nothing_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rule is about licences"):
        check_policy(parse_closure(GRAPH), POLICY, meta=tmp_path / "meta.json")
