"""Attaching to images in registries and in layouts, and reading what is attached."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import nixdock
from nixdock.attach.subject import Referrer, Subject, only_referrer
from nixdock.errors import ImageError, InputError, OutputError
from nixdock.network.retrying import Pace
from nixdock.oci.digests import sha256_digest
from nixdock.oci.documents import DescriptorDocument
from nixdock.oci.location import FileLocation, parse_location
from tests.unit.transfer.samples import Platforms, sample, store

from ..registry.fake_registry import FakeRegistry
from .places import TYPE, SampleSpec, fake, layout

__all__ = ["fake", "layout"]


@pytest.fixture(params=["registry", "layout"])
def place(request: pytest.FixtureRequest, layout: Path, fake: FakeRegistry) -> str:
    """The location of an image."""
    location = f"oci:{layout}:v1"
    if request.param == "layout":
        return location
    nixdock.copy_image(location, f"docker://{fake.host}/x/y:v1")
    return f"docker://{fake.host}/x/y:v1"


def digest_at(place: str) -> str:
    return str(nixdock.inspect_image(place, quick=True).document()["images"][0]["digest"])


def index(layout: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return found


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_what_is_attached_is_listed_and_read(place: str) -> None:
    before = digest_at(place)
    attached = nixdock.attach_artifact(
        place, b'{"a": 1}', TYPE, annotations={"by": "me"}, title="a.json"
    )
    assert attached.subject == before == digest_at(place)
    assert (attached.artifact_type, attached.size) == (TYPE, 8)
    nixdock.attach_artifact(place, b"other", "text/plain")
    subject, found = nixdock.list_referrers(place)
    assert (subject, len(found)) == (before, 2)
    (one,) = nixdock.list_referrers(place, artifact_type=TYPE)[1]
    assert (one.digest, one.artifact_type) == (attached.digest, TYPE)
    assert one.annotations == {"by": "me"}
    assert nixdock.read_referrer(place, artifact_type=TYPE) == b'{"a": 1}'
    assert nixdock.read_referrer(place, digest=attached.digest) == b'{"a": 1}'
    assert nixdock.verify_image(place).problems == ()


def test_the_same_is_attached_once(place: str, layout: Path) -> None:
    first = nixdock.attach_artifact(place, b"data", TYPE)
    before = files(layout)
    assert nixdock.attach_artifact(place, b"data", TYPE) == first
    assert files(layout) == before
    assert len(nixdock.list_referrers(place)[1]) == 1


def test_a_reference_by_digest_in_a_registry(fake: FakeRegistry) -> None:
    digest = store(fake, "x", sample("one"), "v1")
    attached = nixdock.attach_artifact(f"docker://{fake.host}/x:v1", b"data", TYPE)
    assert attached.reference == f"{fake.host}/x@{attached.digest}"
    # It is an image reference, too, and an attachment may have attachments.
    again = nixdock.attach_artifact(f"docker://{attached.reference}", b"of it", TYPE)
    assert again.subject == attached.digest
    assert nixdock.list_referrers(f"docker://{fake.host}/x@{digest}")[0] == digest


def test_only_one_attachment_is_read(place: str) -> None:
    with pytest.raises(InputError, match=f"^nothing is attached to .*{place[-5:-3]}"):
        nixdock.read_referrer(place)
    for text in ("one", "two"):
        nixdock.attach_artifact(place, text.encode(), TYPE)
    with pytest.raises(InputError, match=r"^2 things are attached to .*: sha256:.* choose one"):
        nixdock.read_referrer(place)
    with pytest.raises(InputError, match=r"^nothing of the type a/b with the digest sha256:0"):
        nixdock.read_referrer(place, artifact_type="a/b", digest="sha256:0")


def test_wrong_types_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'sbom' is not a type of attachments"):
        nixdock.attach_artifact(tmp_path / "none", b"", "sbom")


@pytest.mark.parametrize("form", ["spdx", "cyclonedx"])
def test_the_bill_of_materials_of_an_image(place: str, form: str) -> None:
    attached = nixdock.attach_sbom(place, form)
    data = nixdock.read_referrer(place, artifact_type=attached.artifact_type)
    bill = nixdock.list_packages(parse_location(place))
    assert bill.subject.digest == digest_at(place)
    assert data == nixdock.sbom_json(bill, form)
    kinds = {"spdx": "application/spdx+json", "cyclonedx": "application/vnd.cyclonedx+json"}
    assert attached.artifact_type == kinds[form]


# Indexes.


def test_an_index_and_an_image_of_it_have_attachments_of_their_own(fake: FakeRegistry) -> None:
    platforms = Platforms()
    whole = platforms.store(fake, "x", "v1")
    place = f"docker://{fake.host}/x:v1"
    assert nixdock.attach_artifact(place, b"index", TYPE).subject == whole
    one = nixdock.attach_artifact(place, b"image", TYPE, platform="linux/arm64")
    assert one.subject == platforms.arm64.digest
    assert nixdock.read_referrer(place) == b"index"
    assert nixdock.read_referrer(place, platform="linux/arm64") == b"image"
    with pytest.raises(InputError, match="is an index; a bill of materials is of one image"):
        nixdock.attach_sbom(place, "spdx")
    assert nixdock.attach_sbom(place, "spdx", platform="linux/amd64").subject == (
        platforms.amd64.digest
    )


def test_an_index_in_a_layout(fake: FakeRegistry, tmp_path: Path) -> None:
    platforms = Platforms()
    whole = platforms.store(fake, "x", "v1")
    target = tmp_path / "all"
    nixdock.pull_image(f"{fake.host}/x:v1", target, form="oci-layout", all_platforms=True)
    assert nixdock.attach_artifact(target, b"index", TYPE).subject == whole
    one = nixdock.attach_artifact(target, b"image", TYPE, platform="linux/arm64")
    assert one.subject == platforms.arm64.digest
    assert nixdock.read_referrer(target, platform="linux/arm64") == b"image"
    assert nixdock.verify_image(target).problems == ()


# Layouts.


def test_a_layout_lists_attachments_without_names(layout: Path) -> None:
    before = index(layout)
    attached = nixdock.attach_artifact(layout, b"data", TYPE, annotations={"by": "me"})
    manifest = layout / "blobs/sha256" / attached.digest.removeprefix("sha256:")
    assert index(layout) == [
        *before,
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": attached.digest,
            "size": manifest.stat().st_size,
            "artifactType": TYPE,
            "annotations": {"by": "me"},
        },
    ]


def test_what_else_a_layout_says_stays(layout: Path) -> None:
    document = json.loads((layout / "index.json").read_bytes())
    document["annotations"] = {"a": "b"}
    document["manifests"][0]["new"] = [1]
    (layout / "index.json").write_text(json.dumps(document))
    nixdock.attach_artifact(layout, b"data", TYPE)
    changed = json.loads((layout / "index.json").read_bytes())
    assert changed["annotations"] == {"a": "b"}
    assert changed["manifests"][0] == document["manifests"][0]


def test_lists_that_other_tools_keep_in_layouts_are_read(layout: Path) -> None:
    attached = nixdock.attach_artifact(layout, b"data", TYPE)
    image, entry = index(layout)
    data = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    tag = f"sha256-{attached.subject.removeprefix('sha256:')}"
    tagged = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": f"sha256:{digest}",
        "size": len(data),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }
    document = {"schemaVersion": 2, "manifests": [image, tagged]}
    (layout / "index.json").write_text(json.dumps(document))
    place = f"oci:{layout}:v1"
    assert [each.digest for each in nixdock.list_referrers(place)[1]] == [attached.digest]
    assert nixdock.read_referrer(place) == b"data"


def test_processes_that_attach_to_a_layout_wait_for_each_other(layout: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: nixdock.attach_artifact(layout, b"%d" % i, TYPE), range(24)))
    assert len(nixdock.list_referrers(layout)[1]) == 24


def test_nothing_is_left_in_a_layout_if_its_index_can_not_be_replaced(
    layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(layout)
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == layout / "index.json":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match="No space left on device"):
        nixdock.attach_artifact(layout, b"data", TYPE)
    assert files(layout) == before


def test_archives_can_only_be_read(layout: Path, tmp_path: Path, sample_spec: SampleSpec) -> None:
    archive = tmp_path / "image.tar"
    spec = nixdock.read_spec(tmp_path / "spec.json")
    attaching = nixdock.Attaching(sbom="spdx")
    nixdock.build_image(spec, archive, attaching=attaching)
    assert len(nixdock.list_referrers(archive)[1]) == 1
    assert nixdock.read_referrer(archive).startswith(b"{")
    with pytest.raises(InputError, match=r"is an archive, to which nothing can be added; copy"):
        nixdock.attach_artifact(archive, b"data", TYPE)


def test_docker_archives_have_no_manifests(tmp_path: Path, sample_spec: SampleSpec) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    nixdock.build_image(spec, tmp_path / "docker.tar", form="docker-archive")
    with pytest.raises(InputError, match="is a docker-archive, whose images have no manifests"):
        nixdock.list_referrers(tmp_path / "docker.tar")


def test_a_layout_with_images_side_by_side_has_no_index(tmp_path: Path, fake: FakeRegistry) -> None:
    platforms = Platforms()
    platforms.store(fake, "x", "v1")
    for name in ("amd64", "arm64"):
        place = f"docker://{fake.host}/x:v1"
        nixdock.copy_image(place, f"oci:{tmp_path}/{name}", platform=f"linux/{name}")
    target = tmp_path / "amd64"
    shutil.copytree(tmp_path / "arm64/blobs", target / "blobs", dirs_exist_ok=True)
    document = {"schemaVersion": 2, "manifests": index(target) + index(tmp_path / "arm64")}
    (target / "index.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="no index of them; choose a platform"):
        nixdock.list_referrers(FileLocation(target))
    assert nixdock.list_referrers(target, platform="linux/arm64")[0] == platforms.arm64.digest


# What a hostile registry lists.


def test_a_listed_manifest_must_refer_to_the_image(fake: FakeRegistry) -> None:
    fake.referrers = False
    store(fake, "x", sample("one"), "v1")
    store(fake, "x", sample("other"), "v2")
    place = f"docker://{fake.host}/x"
    clock = fast()
    nixdock.attach_artifact(f"{place}:v2", b"evil", TYPE, access=clock)
    (entry,) = nixdock.list_referrers(f"{place}:v2")[1]
    tag = f"sha256-{sample('one').digest.removeprefix('sha256:')}"
    listed = {"mediaType": entry.media_type, "digest": entry.digest, "size": entry.size}
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    }
    fake.add_manifest("x", document, tag)
    assert [each.digest for each in nixdock.list_referrers(f"{place}:v1")[1]] == [entry.digest]
    with pytest.raises(ImageError, match=r"is listed as a referrer of sha256:.* does not refer"):
        nixdock.read_referrer(f"{place}:v1")


def test_damaged_content_is_not_returned(fake: FakeRegistry) -> None:
    store(fake, "x", sample("one"), "v1")
    place = f"docker://{fake.host}/x:v1"
    nixdock.attach_artifact(place, b"data", TYPE)
    fake.tampered[sha256_digest(b"data")] = b"evil"
    with pytest.raises(ImageError, match="damaged"):
        nixdock.read_referrer(place)


def test_an_entry_without_a_type(fake: FakeRegistry) -> None:
    referrer = Referrer.of(DescriptorDocument("a/b", "sha256:0", 1))
    assert (referrer.artifact_type, referrer.annotations) == ("", {})


def test_types_are_named_in_one_line() -> None:
    found = [Referrer(f"sha256:{n}", 1, "a/b", "x\nok: signed", {}) for n in "12"]
    subject = cast(Subject, SimpleNamespace(place="p", referrers=lambda _: found))
    with pytest.raises(InputError) as caught:
        only_referrer(subject, None, None)
    assert str(caught.value).startswith(
        r"2 things are attached to p: sha256:1 (x\nok: signed), sha256:2 (x\nok: signed); choose"
    )


def fast() -> nixdock.Access:
    return nixdock.Access(pace=Pace(sleep=lambda _: None), find=lambda *_: None)
