"""Images that are built and pushed with their bill of materials and their provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import Access, Attaching, Pushing
from nixdock.errors import InputError, RegistryError
from nixdock.network.retrying import Pace

from ..image_schemas import schema_errors
from ..provenance.statements import statement
from ..registry.fake_registry import FakeRegistry, Fault, fake_registry

SampleSpec = Callable[..., Path]
SPDX, IN_TOTO = "application/spdx+json", "application/vnd.in-toto+json"
BOTH = Attaching(sbom="spdx", provenance=True, builder_id="https://ci.example/run")
ORIGIN = {"flake": "github:me/app", "revision": "a" * 40, "nix_version": "2.8"}
# How pushes reach the fake registry: without credentials, and without waiting.
FAST = Access(find=lambda *_: None, pace=Pace(sleep=lambda _: None))


@pytest.fixture(params=[True, False], ids=["listed", "tagged"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.referrers = request.param
        yield registry


@pytest.fixture
def spec(sample_spec: SampleSpec, tmp_path: Path) -> nixdock.ImageSpec:
    return nixdock.read_spec(sample_spec(tmp_path, provenance=ORIGIN))


def push(
    spec: nixdock.ImageSpec, fake: FakeRegistry, attaching: Attaching = BOTH, **options: Any
) -> nixdock.PushedImage:
    pushing = Pushing(use_cache=False, **options)
    return nixdock.push_image(
        spec, [f"{fake.host}/x:v1"], pushing, attaching=attaching, access=FAST
    )


def read(place: object, kind: str) -> bytes:
    return nixdock.read_referrer(str(place), artifact_type=kind, access=FAST)


# Builds.


@pytest.mark.parametrize("form", ["archive", "oci-archive", "oci-layout"])
def test_a_build_has_its_attachments_beside_it(
    spec: nixdock.ImageSpec, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "target"
    image = nixdock.build_image(spec, target, form=form, attaching=BOTH)
    assert image.manifest == nixdock.build_image(spec, tmp_path / "bare", form=form).manifest
    assert nixdock.verify_image(target).problems == ()
    (stored,) = nixdock.inspect_image(target, quick=True).document()["images"]
    assert stored["digest"] == image.manifest.digest
    subject, found = nixdock.list_referrers(target)
    assert subject == image.manifest.digest
    assert {each.artifact_type for each in found} == {SPDX, IN_TOTO}
    bill = json.loads(read(target, SPDX))
    digests = [each["checksumValue"] for p in bill["packages"] for each in p.get("checksums", [])]
    assert image.manifest.digest.removeprefix("sha256:") in digests
    document = statement(read(target, IN_TOTO))
    assert document["subject"] == [
        {"name": "x/y:v1", "digest": {"sha256": image.manifest.digest.removeprefix("sha256:")}}
    ]


def test_the_documents_of_a_layout_fit_the_schemas(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    nixdock.build_image(spec, tmp_path / "layout", form="oci-layout", attaching=BOTH)
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    assert schema_errors("image-index-schema.json", index) == []
    for entry in index["manifests"]:
        file = tmp_path / "layout/blobs/sha256" / entry["digest"].removeprefix("sha256:")
        assert schema_errors("image-manifest-schema.json", json.loads(file.read_bytes())) == []


def test_two_builds_have_the_same_bytes(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    for name in ("one", "other"):
        nixdock.build_image(spec, tmp_path / name, attaching=BOTH)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_docker_archive_can_not_have_attachments(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no manifest .* choose the format archive"):
        nixdock.build_image(spec, tmp_path / "x", form="docker-archive", attaching=BOTH)
    nixdock.build_image(spec, tmp_path / "x", form="docker-archive", attaching=Attaching())


def test_nothing_is_built_if_what_is_to_be_attached_can_not_be_made(
    spec: nixdock.ImageSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    wrong = Attaching(sbom="spdx", meta=tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json"):
        nixdock.build_image(spec, tmp_path / "x", attaching=wrong)
    with pytest.raises(InputError, match=r"none\.json"):
        push(spec, fake, wrong)
    with pytest.raises(InputError, match="'html' is not a format"):
        nixdock.build_image(spec, tmp_path / "x", attaching=Attaching(sbom="html"))
    assert not (tmp_path / "x").exists()
    assert fake.log == []


@pytest.mark.parametrize("uri", ["", "ci", "https:// ci.example", "https://[ci"])
def test_a_builder_is_a_uri(spec: nixdock.ImageSpec, tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match="is not a URI"):
        nixdock.build_image(
            spec, tmp_path / "x", attaching=Attaching(provenance=True, builder_id=uri)
        )


# What the provenance says.


def test_the_provenance_says_from_what_an_image_was_built(
    spec: nixdock.ImageSpec, sample_spec: SampleSpec, tmp_path: Path
) -> None:
    base = nixdock.build_image(spec, tmp_path / "base", form="oci-layout")
    other = tmp_path / "other"
    other.mkdir()
    above = nixdock.read_spec(
        sample_spec(
            other,
            name="above",
            contents=[],
            config={},
            from_image={"path": str(tmp_path / "base")},
            provenance=ORIGIN | {"system": "x86_64-linux"},
        )
    )
    nixdock.build_image(above, tmp_path / "x", attaching=BOTH)
    predicate = statement(read(tmp_path / "x", IN_TOTO))["predicate"]
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    assert definition["internalParameters"] == {"system": "x86_64-linux"}
    assert definition["externalParameters"]["spec"]["name"] == "above"
    flake, image, *paths = definition["resolvedDependencies"]
    assert flake == {"name": "flake", "uri": "github:me/app", "digest": {"gitCommit": "a" * 40}}
    assert image == {
        "name": "x/y:v1",
        "digest": {"sha256": base.manifest.digest.removeprefix("sha256:")},
    }
    assert [each["name"] for each in paths] == ["libc", "script", "link", "app"]
    assert details["builder"]["id"] == "https://ci.example/run"
    assert details["builder"]["version"].keys() == {"nix", "nixdock"}
    assert details.keys() == {"builder"}
    assert str(tmp_path) not in json.dumps(predicate)


def test_a_base_image_without_a_manifest_has_the_digest_of_its_config(
    spec: nixdock.ImageSpec, sample_spec: SampleSpec, tmp_path: Path
) -> None:
    base = nixdock.build_image(spec, tmp_path / "base", form="docker-archive")
    other = tmp_path / "other"
    other.mkdir()
    changes = {"from_image": {"path": str(tmp_path / "base")}, "contents": [], "config": {}}
    above = nixdock.read_spec(sample_spec(other, **changes))
    nixdock.build_image(above, tmp_path / "x", attaching=Attaching(provenance=True))
    predicate = statement(read(tmp_path / "x", IN_TOTO))["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"][0] == {
        "name": "x/y:v1",
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": {"sha256": base.config.digest.removeprefix("sha256:")},
    }
    assert predicate["runDetails"]["builder"]["id"] == "https://nixdock.dev/builders/unknown"


def test_a_base_image_in_a_registry_has_a_location(
    spec: nixdock.ImageSpec, sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    digest = push(spec, fake, Attaching()).digest
    other = tmp_path / "other"
    other.mkdir()
    place = f"docker://{fake.host}/x:v1"
    above = nixdock.read_spec(
        sample_spec(other, from_image={"path": place}, contents=[], config={})
    )
    nixdock.build_image(above, tmp_path / "x", attaching=BOTH, access=FAST)
    predicate = statement(read(tmp_path / "x", IN_TOTO))["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"][0] == {
        "name": f"{fake.host}/x",
        "uri": place,
        "digest": {"sha256": digest.removeprefix("sha256:")},
    }


def test_a_resolved_spec_has_the_same_provenance(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    nixdock.build_image(spec, tmp_path / "one", attaching=BOTH)
    nixdock.build_image(nixdock.resolve_spec(spec).spec, tmp_path / "two", attaching=BOTH)
    assert read(tmp_path / "one", IN_TOTO) == read(tmp_path / "two", IN_TOTO)


# Pushes.


def test_attachments_are_pushed_after_the_manifest_and_before_the_tag(
    spec: nixdock.ImageSpec, fake: FakeRegistry
) -> None:
    result = push(spec, fake)
    puts = [each.rpartition("/")[2] for each in fake.routes("PUT", "/manifests/")]
    bill, provenance = (each.manifest.digest for each in result.attachments)
    tag = f"sha256-{result.digest.removeprefix('sha256:')}"
    lists = [] if fake.referrers else [tag]
    assert puts == [result.digest, bill, provenance, *lists, "v1"]
    place = f"docker://{fake.host}/x:v1"
    assert nixdock.list_referrers(place, access=FAST)[0] == result.digest
    assert statement(read(place, IN_TOTO))["subject"][0]["name"] == "x/y:v1"
    assert result.document()["attachments"] == [
        {"digest": bill, "artifact_type": SPDX, "size": len(read(place, SPDX))},
        {"digest": provenance, "artifact_type": IN_TOTO, "size": len(read(place, IN_TOTO))},
    ]
    assert result.sent > sum(len(each.content.data) for each in result.attachments)


def test_an_unchanged_push_sends_nothing(spec: nixdock.ImageSpec, fake: FakeRegistry) -> None:
    push(spec, fake)
    before = len(fake.requests("PUT|POST|PATCH"))
    assert push(spec, fake).sent == 0
    assert len(fake.requests("PUT|POST|PATCH")) == before


def test_attachments_can_be_pushed_later(spec: nixdock.ImageSpec, fake: FakeRegistry) -> None:
    digest = push(spec, fake, Attaching()).digest
    before = len(fake.requests("PUT", "/manifests/"))
    dry = push(spec, fake, dry_run=True)
    assert len(fake.requests("PUT|POST|PATCH", "/manifests/")) == before
    result = push(spec, fake)
    assert result.digest == digest
    assert len(nixdock.list_referrers(f"docker://{fake.host}/x:v1", access=FAST)[1]) == 2
    # A dry run can't tell what lists of clients, and the config of attachments, will take.
    assert dry.sent > 0
    names = [each.rpartition("/")[2] for each in fake.routes("PUT", "/manifests/")]
    assert names.count("v1") == 1


def test_a_tag_stays_what_it_was_if_something_can_not_be_attached(
    spec: nixdock.ImageSpec, sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    digest = push(spec, fake).digest
    changed = nixdock.read_spec(sample_spec(tmp_path, extra_commands="echo > new"))
    place = fake.requests("PUT", "/manifests/")
    fake.faults = [Fault("PUT", "/manifests/sha256[:-]", skip=1, times=9, status=403)]
    with pytest.raises(RegistryError, match="403"):
        push(changed, fake)
    assert len(fake.requests("PUT", "/manifests/")) == len(place) + 2
    assert fake.tags["x"]["v1"] == digest
    fake.faults = []
    new = push(changed, fake)
    assert fake.tags["x"]["v1"] == new.digest
    assert len(nixdock.list_referrers(f"docker://{fake.host}/x:v1", access=FAST)[1]) == 2


def test_an_image_that_exists_is_not_pushed_with_attachments(
    spec: nixdock.ImageSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    nixdock.build_image(spec, tmp_path / "x")
    with pytest.raises(InputError, match=r"attach the bill of materials .* `nixdock attach`"):
        nixdock.push_image(tmp_path / "x", [f"{fake.host}/x"], attaching=BOTH, access=FAST)


# Attestations in an index, as BuildKit stores them.

IN_INDEX = Attaching(sbom="spdx", provenance=True, form="index")
PREDICATES = ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]


def check_index(index: dict[str, Any], image: str, blob: Callable[[str], bytes]) -> None:
    """Check an index as BuildKit's documentation describes it."""
    assert schema_errors("image-index-schema.json", index) == []
    first, second = index["manifests"]
    assert first["digest"] == image
    assert first["platform"] == {"architecture": "amd64", "os": "linux"}
    assert second["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert second["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image,
    }
    manifest = json.loads(blob(second["digest"]))
    assert schema_errors("image-manifest-schema.json", manifest) == []
    config = json.loads(blob(manifest["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    kinds = [each["annotations"]["in-toto.io/predicate-type"] for each in manifest["layers"]]
    assert kinds == PREDICATES
    bill, provenance = (blob(each["digest"]) for each in manifest["layers"])
    assert statement(provenance)["subject"][0]["digest"]["sha256"] in image
    document = json.loads(bill)
    assert document["predicateType"] == PREDICATES[0]
    assert document["predicate"]["spdxVersion"] == "SPDX-2.3"
    assert document["subject"][0]["digest"]["sha256"] in image


@pytest.mark.parametrize("form", ["archive", "oci-archive", "oci-layout"])
def test_a_build_with_attestations_in_an_index(
    spec: nixdock.ImageSpec, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "target"
    image = nixdock.build_image(spec, target, form=form, attaching=IN_INDEX)
    assert nixdock.verify_image(target).problems == ()
    (stored,) = nixdock.inspect_image(target, quick=True).document()["images"]
    assert stored["digest"] == image.manifest.digest
    assert nixdock.list_referrers(target) == (image.root.digest, [])
    blobs = {each.digest: each.data for each in image.documents}
    check_index(json.loads(image.root.data), image.manifest.digest, blobs.__getitem__)
    nixdock.copy_image(str(target), f"oci:{tmp_path}/copy", all_platforms=True)
    for digest, data in blobs.items():
        file = tmp_path / "copy/blobs/sha256" / digest.removeprefix("sha256:")
        assert file.read_bytes() == data


def test_a_push_with_attestations_in_an_index(spec: nixdock.ImageSpec, fake: FakeRegistry) -> None:
    result = push(spec, fake, IN_INDEX)
    assert fake.tags["x"]["v1"] == result.digest
    index = fake.manifests["x"][result.digest].data
    documents = {digest: each.data for digest, each in fake.manifests["x"].items()}
    blobs = documents | fake.blobs["x"]
    (image, attestation) = (each["digest"] for each in json.loads(index)["manifests"])
    check_index(json.loads(index), image, blobs.__getitem__)
    puts = [each.rpartition("/")[2] for each in fake.routes("PUT", "/manifests/")]
    assert puts == [image, attestation, result.digest, "v1"]
    # Again, there is nothing left to do.
    assert push(spec, fake, IN_INDEX).sent == 0
    # The image alone is what it always is.
    assert push(spec, fake, Attaching()).digest == image
    dry = push(spec, fake, IN_INDEX, dry_run=True)
    assert fake.tags["x"]["v1"] == image
    assert dry.sent == len(index) + len(fake.manifests["x"][attestation].data)


def test_there_are_two_ways_to_attach(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tag' is not a valid AttachAs"):
        nixdock.build_image(spec, tmp_path / "x", attaching=Attaching(sbom="spdx", form="tag"))
