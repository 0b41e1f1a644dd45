"""Copying what is attached to images along with them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Protocol

import pytest

import nixdock
from nixdock import Access
from nixdock.errors import ImageError, InputError, RegistryError
from nixdock.oci.digests import sha256_digest
from nixdock.transfer import attachments

from ..registry.fake_registry import FakeRegistry, Fault
from .samples import INDEX, MANIFEST, Platforms, sample, store

TYPE = "application/vnd.example+json"


class Attach(Protocol):
    """Attaches a text to an image and returns the digest of the referrer."""

    def __call__(self, place: object, text: str = "content", **options: Any) -> str: ...


@pytest.fixture
def attach(access: Access) -> Attach:
    def to(place: object, text: str = "content", **options: Any) -> str:
        content = text.encode()
        return nixdock.attach_artifact(str(place), content, TYPE, access=access, **options).digest

    return to


@pytest.fixture(params=[True, False], ids=["listed", "tagged"])
def source(request: pytest.FixtureRequest, fake: FakeRegistry) -> str:
    """An image in a registry that lists referrers, or in which clients do."""
    fake.referrers = request.param
    store(fake, "x", sample("one"), "v1")
    return f"docker://{fake.host}/x:v1"


def listed(place: object, access: Access, **options: Any) -> set[str]:
    found = nixdock.list_referrers(str(place), access=access, **options)[1]
    return {each.digest for each in found}


@pytest.mark.parametrize("lists", [True, False])
def test_from_registry_to_registry(
    source: str, other: FakeRegistry, access: Access, attach: Attach, lists: bool
) -> None:
    other.referrers = lists
    one, two = attach(source, "one"), attach(source, "two")
    # A signature of an attachment, for example.
    of_one = attach(source.replace(":v1", f"@{one}"), "of one")
    target = f"docker://{other.host}/y:v2"
    copied = nixdock.copy_image(source, target, referrers=True, access=access)
    assert listed(target, access) == {one, two}
    assert listed(target.replace(":v2", f"@{one}"), access) == {of_one}
    assert {each.manifest.digest for each in copied.attachments} == {one, two, of_one}
    assert {each["digest"] for each in copied.document()["attachments"]} == {one, two, of_one}
    puts = [each.rpartition("/")[2] for each in other.routes("PUT", "/manifests/")]
    assert (puts[0], puts[-1]) == (copied.digest, "v2")
    # Again, there is nothing left to do.
    before = len(other.requests("PUT|POST|PATCH"))
    nixdock.copy_image(source, target, referrers=True, access=access)
    assert len(other.requests("PUT|POST|PATCH")) == before


def test_without_the_option_the_image_alone_is_copied(
    source: str, other: FakeRegistry, access: Access, attach: Attach
) -> None:
    attach(source)
    target = f"docker://{other.host}/y:v2"
    assert nixdock.copy_image(source, target, access=access).attachments == ()
    assert listed(target, access) == set()


@pytest.mark.parametrize("form", ["archive", "oci-archive", "oci-layout"])
def test_from_a_registry_to_a_file_and_back(
    source: str, other: FakeRegistry, access: Access, attach: Attach, tmp_path: Path, form: str
) -> None:
    one = attach(source)
    target = tmp_path / "target"
    reference = source.removeprefix("docker://")
    nixdock.pull_image(reference, target, form=form, referrers=True, access=access)
    assert listed(target, access) == {one}
    assert nixdock.read_referrer(target) == b"content"
    assert nixdock.verify_image(target).problems == ()
    back = f"docker://{other.host}/y:v1"
    nixdock.copy_image(str(target), back, referrers=True, access=access)
    assert listed(back, access) == {one}
    assert nixdock.read_referrer(back, access=access) == b"content"


def test_a_layout_has_each_attachment_once(
    source: str, access: Access, attach: Attach, tmp_path: Path
) -> None:
    one = attach(source)
    layout = tmp_path / "layout"
    place = f"oci:{layout}"
    for _ in range(2):
        nixdock.copy_image(source, place, referrers=True, access=access)
    own = attach(place, "own")
    # What is attached here stays, also if the image comes again without it.
    nixdock.copy_image(source, place, access=access)
    assert listed(layout, access) == {one, own}
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert len(entries) == 3


def test_of_an_index_and_its_images(
    fake: FakeRegistry, other: FakeRegistry, access: Access, attach: Attach
) -> None:
    fake.referrers = True
    Platforms().store(fake, "x", "v1")
    source = f"docker://{fake.host}/x:v1"
    whole, arm = attach(source, "index"), attach(source, "arm", platform="linux/arm64")
    amd = attach(source, "amd", platform="linux/amd64")
    target = f"docker://{other.host}/all:v1"
    nixdock.copy_image(source, target, all_platforms=True, referrers=True, access=access)
    assert listed(target, access) == {whole}
    assert listed(target, access, platform="linux/arm64") == {arm}
    one = f"docker://{other.host}/one:v1"
    nixdock.copy_image(source, one, platform="linux/amd64", referrers=True, access=access)
    assert listed(one, access) == {amd}


def test_a_docker_archive_can_not_have_referrers(
    source: str, access: Access, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a docker-archive has no manifest"):
        nixdock.copy_image(source, f"docker-archive:{tmp_path}/x", referrers=True, access=access)


def test_nothing_is_written_if_an_attachment_is_damaged(
    source: str, fake: FakeRegistry, access: Access, attach: Attach, tmp_path: Path
) -> None:
    attach(source)
    (damaged,) = (each for each, data in fake.blobs["x"].items() if data == b"content")
    fake.tampered[damaged] = b"tnetnoc"
    with pytest.raises(ImageError, match="damaged"):
        nixdock.copy_image(source, f"oci:{tmp_path}/x", referrers=True, access=access)
    assert not (tmp_path / "x").exists()


def test_a_tag_is_not_set_if_something_can_not_be_attached(
    source: str, other: FakeRegistry, access: Access, attach: Attach
) -> None:
    one = attach(source)
    other.faults = [Fault("PUT", f"/manifests/{one}", status=403)]
    with pytest.raises(RegistryError, match="403"):
        nixdock.copy_image(source, f"docker://{other.host}/y:v1", referrers=True, access=access)
    assert other.tags == {}


def test_too_many_attachments(
    source: str, access: Access, attach: Attach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "_MOST_ATTACHMENTS", 1)
    for text in ("one", "two"):
        attach(source, text)
    with pytest.raises(ImageError, match="more than 1 attachments"):
        nixdock.copy_image(source, f"oci:{tmp_path}/x", referrers=True, access=access)


def attach_blobs(fake: FakeRegistry, *layers: bytes) -> None:
    """Attach something that lists these blobs to the image."""
    config, *contents = (fake.add_blob("x", data) for data in (b"{}", *layers))
    descriptors = [
        {"mediaType": TYPE, "digest": each, "size": len(data)}
        for each, data in zip(contents, layers, strict=True)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": TYPE,
        "config": {"mediaType": TYPE, "digest": config, "size": 2},
        "layers": descriptors,
        "subject": sample("one").descriptor(),
    }
    fake.add_manifest("x", document)


def test_attachments_are_read_if_they_fit_into_memory(
    fake: FakeRegistry, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.referrers = True
    store(fake, "x", sample("one"), "v1")
    source = f"docker://{fake.host}/x:v1"
    # A blob that is listed again takes no more memory.
    attach_blobs(fake, *[b"1234567"] * 50)
    monkeypatch.setattr(attachments, "MOST_CONTENT", 10)
    monkeypatch.setattr(attachments, "_MOST_CONTENT_IN_ALL", 20)
    target = f"oci:{tmp_path}/x"
    assert nixdock.copy_image(source, target, referrers=True, access=access).attachments
    assert len(fake.routes("GET", sha256_digest(b"1234567"))) == 1
    attach_blobs(fake, b"7654321")
    nixdock.copy_image(source, target, referrers=True, access=access)
    attach_blobs(fake, b"7654320")
    with pytest.raises(ImageError, match="more than 20 bytes of attachments"):
        nixdock.copy_image(source, target, referrers=True, access=access)
    attach_blobs(fake, b"12345", b"67890")
    monkeypatch.setattr(attachments, "_MOST_CONTENT_IN_ALL", 1000)
    with pytest.raises(ImageError, match="have 12 bytes in total, but those of an attachment may"):
        nixdock.copy_image(source, target, referrers=True, access=access)
    assert not fake.routes("GET", sha256_digest(b"67890"))


def test_of_several_contents_none_is_read(fake: FakeRegistry, access: Access) -> None:
    fake.referrers = True
    store(fake, "x", sample("one"), "v1")
    attach_blobs(fake, b"one", b"two")
    with pytest.raises(ImageError, match="has 2 contents, and not one"):
        nixdock.read_referrer(f"docker://{fake.host}/x:v1", access=access)
    assert not fake.routes("GET", "/x/blobs/")


def test_an_index_that_refers_to_an_image_is_left_out(
    fake: FakeRegistry, access: Access, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.referrers = True
    image = sample("one")
    store(fake, "x", image, "v1")
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    index = fake.add_manifest("x", document | {"subject": image.descriptor()})
    source = f"docker://{fake.host}/x:v1"
    with caplog.at_level(logging.WARNING):
        copied = nixdock.copy_image(source, f"oci:{tmp_path}/x", referrers=True, access=access)
    assert copied.attachments == ()
    assert f"{index} is an index, and is left out" in caplog.text


def test_a_copied_manifest_with_a_subject_is_listed(
    source: str, other: FakeRegistry, access: Access, attach: Attach
) -> None:
    """A registry without lists does not notice what it is."""
    image = store(other, "y", sample("one"), "v1")
    one = attach(source)
    target = f"docker://{other.host}/y@{one}"
    nixdock.copy_image(source.replace(":v1", f"@{one}"), target, access=access)
    assert listed(f"docker://{other.host}/y@{image}", access) == {one}
