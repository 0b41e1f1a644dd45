"""Copying images between registries and files."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

import nixdock
from nixdock.oci.media_types import INDEX_MEDIA_TYPE
from nixdock.registry.access import Access

from ..registry.fake_registry import FakeRegistry, Fault, digest_of
from .samples import Platforms, Sample, archive_files, layout_blobs, sample, store

SENDING = "PUT|POST|PATCH"
EMPTY: Final = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": digest_of(b"{}"),
    "size": 2,
}


@pytest.fixture
def image(fake: FakeRegistry) -> Sample:
    """An image in a registry, as x/y:v1."""
    found = sample("one", "two")
    store(fake, "x/y", found, "v1")
    return found


@pytest.fixture
def layout(fake: FakeRegistry, image: Sample, access: Access, tmp_path: Path) -> Path:
    """The same image in an OCI layout, with the tag v1."""
    target = tmp_path / "layout"
    nixdock.pull_image(f"{fake.host}/x/y:v1", target, form="oci-layout", access=access)
    return target


def outcomes(copied: nixdock.Copied) -> list[str]:
    return [str(blob.outcome) for blob in copied.blobs]


def assert_has(registry: FakeRegistry, repository: str, tag: str, image: Sample) -> None:
    stored = registry.manifest(repository, tag)
    assert stored is not None
    assert stored.data == image.manifest
    assert registry.blobs[repository].items() >= image.blobs.items()


def test_blobs_of_the_same_registry_are_mounted(
    fake: FakeRegistry, image: Sample, access: Access
) -> None:
    source, target = f"docker://{fake.host}/x/y:v1", f"docker://{fake.host}/z:v2"
    result = nixdock.copy_image(source, target, access=access)
    assert_has(fake, "z", "v2", image)
    assert (outcomes(result), result.read) == (["mounted"] * 3, 0)
    assert fake.requests("GET", "/blobs/") == []
    assert {each.received for each in fake.requests("PUT", "/blobs/")} == set()
    assert result.digest_reference == f"{fake.host}/z@{image.digest}"
    assert result.names == (f"{fake.host}/z:v2",)
    # A second copy sends nothing.
    fake.log.clear()
    again = nixdock.copy_image(source, target, access=access)
    assert outcomes(again) == ["present"] * 3
    assert [manifest.outcome for manifest in again.manifests] == ["present"]
    assert fake.requests(SENDING) == []


@pytest.mark.parametrize("status", [0, 200, 403, 409, 412, 422, 500])
def test_what_is_not_mounted_is_uploaded(
    fake: FakeRegistry, image: Sample, access: Access, status: int
) -> None:
    fake.refuses_mounts = True
    if status:
        fake.faults.append(Fault("POST", r"\?mount=", status=status, times=3))
    result = nixdock.copy_image(
        f"docker://{fake.host}/x/y:v1", f"docker://{fake.host}/z:v2", access=access
    )
    assert_has(fake, "z", "v2", image)
    assert outcomes(result) == ["uploaded"] * 3


def test_registries_are_streamed_to_each_other(
    fake: FakeRegistry,
    other: FakeRegistry,
    image: Sample,
    access: Access,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = tmp_path / "tmp"
    empty.mkdir(mode=0o500)
    monkeypatch.setenv("TMPDIR", str(empty))
    monkeypatch.setattr("tempfile.tempdir", str(empty))
    result = nixdock.copy_image(
        f"docker://{fake.host}/x/y:v1", f"docker://{other.host}/z:v2", access=access
    )
    assert_has(other, "z", "v2", image)
    assert outcomes(result) == ["uploaded"] * 3
    assert result.read == sum(map(len, image.blobs.values()))
    assert other.requests("POST", "mount=") == []
    assert sorted(os.listdir(tmp_path)) == ["home", "tmp"]
    assert os.listdir(empty) == []
    # Blobs come first, then the config, the manifest, and the tag.
    sent = [each.path.partition("?")[0].split("/")[-2:] for each in other.requests("PUT")]
    assert sent[-2:] == [["manifests", image.digest], ["manifests", "v2"]]
    assert digest_of(image.config)[7:] in other.requests("PUT")[-3].path
    other.log.clear()
    nixdock.copy_image(f"docker://{fake.host}/x/y:v1", f"docker://{other.host}/z:v2", access=access)
    assert other.requests(SENDING) == []


def test_a_broken_upload_goes_on(fake: FakeRegistry, other: FakeRegistry, access: Access) -> None:
    image = sample("large", size=3 << 20)
    store(fake, "x", image, "v1")
    other.faults.append(Fault("PUT", "/blobs/uploads/", cut=1 << 20))
    fake.faults.append(Fault("GET", digest_of(image.layers[0]), cut=1 << 20))
    nixdock.copy_image(f"docker://{fake.host}/x:v1", f"docker://{other.host}/x", access=access)
    assert_has(other, "x", "latest", image)


def test_a_damaged_blob_is_not_sent_on(
    fake: FakeRegistry, other: FakeRegistry, image: Sample, access: Access
) -> None:
    layer = image.layers[0]
    fake.tampered[digest_of(layer)] = b"x" * len(layer)
    with pytest.raises(nixdock.ImageError, match=f"the blob {digest_of(layer)} is damaged"):
        nixdock.copy_image(
            f"docker://{fake.host}/x/y:v1", f"docker://{other.host}/x/y:v1", access=access
        )
    assert digest_of(layer) not in other.blobs.get("x/y", {})
    assert other.requests("PUT", "/manifests/") == []


def test_an_index_comes_after_its_images(
    fake: FakeRegistry, other: FakeRegistry, access: Access
) -> None:
    platforms = Platforms()
    digest = platforms.store(fake, "x", "v1")
    result = nixdock.copy_image(
        f"docker://{fake.host}/x:v1",
        f"docker://{other.host}/x:v1",
        all_platforms=True,
        access=access,
    )
    assert result.digest == digest
    # The fake registry refuses an index before its images, and a manifest before its blobs.
    assert other.manifests["x"] == fake.manifests["x"]
    assert other.tags["x"] == {"v1": digest}
    one = nixdock.copy_image(
        f"docker://{fake.host}/x:v1",
        f"docker://{other.host}/one:v1",
        platform="linux/arm64",
        access=access,
    )
    assert one.digest == platforms.arm64.digest
    assert list(other.manifests["one"]) == [one.digest]


def test_a_layout_goes_to_a_registry_and_back(
    other: FakeRegistry, image: Sample, layout: Path, access: Access, tmp_path: Path
) -> None:
    target = f"docker://{other.host}/x/y:v3"
    result = nixdock.copy_image(f"oci:{layout}:v1", target, access=access)
    assert_has(other, "x/y", "v3", image)
    assert outcomes(result) == ["uploaded"] * 3
    other.log.clear()
    assert outcomes(nixdock.copy_image(str(layout), target, access=access)) == ["present"] * 3
    assert other.requests(SENDING) == []
    nixdock.copy_image(target, f"oci-archive:{tmp_path}/back.tar:v4", access=access)
    files = archive_files(tmp_path / "back.tar")
    assert files[f"blobs/sha256/{image.digest[7:]}"] == image.manifest
    (entry,) = orjson.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == f"{other.host}/x/y:v4"
    assert "manifest.json" not in files


def test_a_layout_keeps_its_other_images(
    fake: FakeRegistry, image: Sample, layout: Path, access: Access
) -> None:
    second = sample("one", "three")
    store(fake, "x/y", second, "v2")
    fake.log.clear()
    source, blobs = f"docker://{fake.host}/x/y:v2", {**second.blobs, second.digest: second.manifest}
    nixdock.copy_image(source, f"oci:{layout}:new", access=access)
    assert layout_blobs(layout) == {**blobs, **image.blobs, image.digest: image.manifest}
    assert nixdock.verify_image(layout).problems == ()
    nixdock.copy_image(source, f"oci:{layout}:v1", access=access)
    assert layout_blobs(layout) == blobs
    index = orjson.loads((layout / "index.json").read_bytes())
    assert {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in index["manifests"]
    } == {"new": second.digest, "v1": second.digest}
    fetched = [route.rpartition("/")[2] for route in fake.routes("GET", "/blobs/")]
    assert sorted(fetched) == sorted([digest_of(second.layers[1]), digest_of(second.config)])
    assert nixdock.verify_image(layout).problems == ()


def test_a_damaged_layout_is_not_added_to(
    fake: FakeRegistry, image: Sample, layout: Path, access: Access
) -> None:
    (layout / "index.json").write_text("[]")
    with pytest.raises(nixdock.OutputError, match=r"index\.json can't be extended: "):
        nixdock.copy_image(f"docker://{fake.host}/x/y:v1", f"oci:{layout}:v1", access=access)
    assert (layout / "index.json").read_text() == "[]"
    assert image.digest in layout_blobs(layout)


def test_an_archive_has_the_names_of_a_layout_for_all_readers(
    layout: Path, fake: FakeRegistry, tmp_path: Path
) -> None:
    """Other tools add entries with a tag alone, of which Docker's manifest would know nothing."""
    index = orjson.loads((layout / "index.json").read_bytes())
    (entry,) = index["manifests"]
    for name in ("v2", "v1+build"):
        named = {"org.opencontainers.image.ref.name": name}
        index["manifests"].append({**entry, "annotations": named})
    (layout / "index.json").write_bytes(orjson.dumps(index))
    file = tmp_path / "image.tar"
    names = (f"{fake.host}/x/y:v1", f"{fake.host}/x/y:v2")
    assert nixdock.copy_image(str(layout), str(file)).names == names
    assert nixdock.verify_image(file).problems == ()
    (docker,) = orjson.loads(archive_files(file)["manifest.json"])
    assert tuple(docker["RepoTags"]) == names


def test_a_docker_archive_gets_a_manifest(
    other: FakeRegistry, image: Sample, layout: Path, access: Access, tmp_path: Path
) -> None:
    archive = tmp_path / "docker.tar"
    nixdock.copy_image(f"oci:{layout}", f"docker-archive:{archive}:a/b:c", access=access)
    (entry,) = orjson.loads(archive_files(archive)["manifest.json"])
    assert entry["RepoTags"] == ["a/b:c"]
    result = nixdock.copy_image(
        f"docker-archive:{archive}", f"docker://{other.host}/a/b:c", access=access
    )
    stored = other.manifest("a/b", "c")
    assert stored is not None
    assert digest_of(stored.data) == result.digest
    assert orjson.loads(stored.data)["config"]["digest"] == digest_of(image.config)
    again = nixdock.copy_image(
        f"docker-archive:{archive}", f"docker://{other.host}/a/b:c", access=access
    )
    assert (again.digest, outcomes(again)) == (result.digest, ["present"] * 3)


def test_plain_layers_of_a_docker_archive_are_compressed(
    other: FakeRegistry, sample_spec: Callable[..., Path], access: Access, tmp_path: Path
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    built = nixdock.build_image(spec, tmp_path / "x.tar", form="docker-archive")
    nixdock.copy_image(str(tmp_path / "x.tar"), f"docker://{other.host}/x/y:v1", access=access)
    stored = other.manifest("x/y", "v1")
    assert stored is not None
    document = orjson.loads(stored.data)
    assert document["config"]["digest"] == built.config.digest
    for entry, layer in zip(document["layers"], built.layers, strict=True):
        assert entry["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        tar = gzip.decompress(other.blobs["x/y"][entry["digest"]])
        assert digest_of(tar) == layer.diff_id
    # To a docker-archive, they go as they are.
    copy = f"docker-archive:{tmp_path}/copy.tar"
    copied = nixdock.copy_image(str(tmp_path / "x.tar"), copy, access=access)
    assert [blob.digest for blob in copied.blobs[:-1]] == [each.digest for each in built.layers]


def test_a_docker_archive_has_no_zstd(
    sample_spec: Callable[..., Path], access: Access, tmp_path: Path
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    built = nixdock.build_image(spec, tmp_path / "x", form="oci-layout", compression="zstd")
    target = tmp_path / "docker.tar"
    nixdock.copy_image(str(tmp_path / "x"), f"docker-archive:{target}", access=access)
    files = archive_files(target)
    (entry,) = orjson.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["x/y:v1"]
    assert files[entry["Config"]] == built.config.data
    diff_ids = [layer.diff_id for layer in built.layers]
    assert [digest_of(files[name]) for name in entry["Layers"]] == diff_ids


def test_a_layout_of_several_platforms_becomes_an_index(
    fake: FakeRegistry, other: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    platforms = Platforms()
    for image in (platforms.amd64, platforms.arm64):
        store(fake, "x", image, "v1")
        nixdock.copy_image(f"docker://{fake.host}/x:v1", f"oci:{tmp_path}/{image.digest[7:]}:v1",
                           access=access)  # fmt: skip
    first, second = (tmp_path / each.digest[7:] for each in (platforms.amd64, platforms.arm64))
    index = orjson.loads((first / "index.json").read_bytes())
    index["manifests"] += orjson.loads((second / "index.json").read_bytes())["manifests"]
    (first / "index.json").write_bytes(orjson.dumps(index))
    for file in (second / "blobs" / "sha256").iterdir():
        (first / "blobs" / "sha256" / file.name).write_bytes(file.read_bytes())
    result = nixdock.copy_image(
        str(first), f"docker://{other.host}/x:v1", all_platforms=True, access=access
    )
    stored = other.manifest("x", "v1")
    assert stored is not None
    assert digest_of(stored.data) == result.digest
    assert [
        each["platform"]["architecture"] for each in orjson.loads(stored.data)["manifests"]
    ] == [
        "amd64",
        "arm64",
    ]
    one = nixdock.copy_image(
        str(first), f"docker://{other.host}/x:arm", platform="linux/arm64", access=access
    )
    assert one.digest == platforms.arm64.digest


def test_a_layout_without_images_is_no_index(layout: Path, tmp_path: Path) -> None:
    index = orjson.loads((layout / "index.json").read_bytes())
    (layout / "index.json").write_bytes(orjson.dumps({**index, "manifests": []}))
    with pytest.raises(nixdock.InputError, match="layout has no images"):
        nixdock.copy_image(str(layout), str(tmp_path / "x.tar"), all_platforms=True)


def test_another_digest_is_refused(
    fake: FakeRegistry, image: Sample, other: FakeRegistry, access: Access
) -> None:
    wrong, right = f"{other.host}/x@{digest_of(b'')}", f"{other.host}/x@{image.digest}"
    with pytest.raises(nixdock.InputError) as caught:
        nixdock.copy_image(f"docker://{fake.host}/x/y:v1", f"docker://{wrong}", access=access)
    assert str(caught.value) == (
        f"the digest of {fake.host}/x/y is {image.digest}: it can't be copied to {wrong}"
    )
    nixdock.copy_image(f"docker://{fake.host}/x/y:v1", f"docker://{right}", access=access)
    assert other.tags.get("x") is None
    assert list(other.manifests["x"]) == [image.digest]


def test_tags_are_listed(fake: FakeRegistry, access: Access) -> None:
    for tag in ("v2", "latest", "v10", "v1"):
        store(fake, "x", sample("one"), tag)
    fake.page = 2
    assert nixdock.list_tags(f"{fake.host}/x", access=access) == ["latest", "v1", "v10", "v2"]
    with pytest.raises(nixdock.RegistryError):
        nixdock.list_tags(f"{fake.host}/none", access=access)


@pytest.mark.parametrize(
    "changes",
    [
        {"artifactType": "application/vnd.example", "config": EMPTY},
        {"config": {**EMPTY, "mediaType": "application/vnd.cncf.helm.config.v1+json"}},
    ],
)
@pytest.mark.parametrize("name", [":art", ""])
def test_an_artifact_goes_into_a_layout_and_out_of_it(
    fake: FakeRegistry, access: Access, tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    artifact = replace(sample("chart", **changes), config=b"{}")
    store(fake, "x", artifact, "v1")
    layout, other = f"oci:{tmp_path}/layout{name}", f"oci:{tmp_path}/other{name}"
    nixdock.copy_image(f"docker://{fake.host}/x:v1", layout, all_platforms=True, access=access)
    if name:
        store(fake, "y", sample("image"), "v1")
        nixdock.copy_image(
            f"docker://{fake.host}/y:v1", f"oci:{tmp_path}/layout:image", access=access
        )
    nixdock.copy_image(layout, other)
    nixdock.copy_image(other, f"docker://{fake.host}/z:v2", access=access)
    assert_has(fake, "z", "v2", artifact)
    with pytest.raises((nixdock.InputError, nixdock.ImageError)):
        nixdock.copy_image(f"oci:{tmp_path}/layout:none", f"oci:{tmp_path}/none")


@pytest.mark.parametrize("form", ["archive", "docker-archive"])
def test_an_artifact_is_not_fetched_for_docker(
    fake: FakeRegistry, access: Access, tmp_path: Path, form: str
) -> None:
    artifact = replace(sample("model", artifactType="a/b", config=EMPTY), config=b"{}")
    store(fake, "x", artifact, "v1")
    with pytest.raises(nixdock.ImageError) as caught:
        nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out.tar", form=form, access=access)
    assert str(caught.value) == (
        f"{fake.host}/x has no image, but {artifact.digest}, an artifact, which is in no file for"
        " Docker; write an OCI layout or an OCI archive"
    )
    assert fake.requests("GET", "/blobs/") == []
    nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "o", form="oci-archive", access=access)


def test_null_stands_for_no_layers_and_no_images(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """As programs in Go write lists of which they have none."""
    image = sample(layers=None)
    store(fake, "x", image, "v1")
    source, layout = f"docker://{fake.host}/x:v1", f"oci:{tmp_path}/layout:v1"
    nixdock.copy_image(source, layout, access=access)
    assert nixdock.verify_image(tmp_path / "layout").problems == ()
    assert nixdock.inspect_image(layout).document()["images"][0]["layers"] == []
    nixdock.copy_image(layout, f"docker://{fake.host}/z:v2", access=access)
    assert_has(fake, "z", "v2", image)
    index = {"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": None}
    digest = fake.add_manifest("x", index, "none")
    nixdock.copy_image(
        f"docker://{fake.host}/x:none",
        f"docker://{fake.host}/z:none",
        all_platforms=True,
        access=access,
    )
    assert fake.tags["z"]["none"] == digest


def test_the_error_of_an_image_that_is_not_there_stays(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """Also where an artifact would be looked for: in a layout with one platform of an index."""
    platforms = Platforms()
    platforms.store(fake, "x", "v1")
    layout = tmp_path / "layout"
    nixdock.copy_image(
        f"docker://{fake.host}/x:v1", f"oci:{layout}:v1", platform="linux/amd64", access=access
    )
    with pytest.raises(nixdock.InputError, match="no image for linux/arm64"):
        nixdock.copy_image(f"oci:{layout}:v1", str(tmp_path / "out"), platform="linux/arm64")


def test_a_damaged_image_is_no_artifact(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"version": 1, "name": "x"}')
    layout = tmp_path / "layout"
    image = nixdock.build_image(nixdock.read_spec(spec), layout, form="oci-layout")
    assert image.manifest is not None
    config = orjson.loads(image.manifest.data)["config"]["digest"]
    (layout / "blobs/sha256" / config[7:]).write_bytes(b"{}")
    with pytest.raises(nixdock.ImageError, match=config):
        nixdock.copy_image(str(layout), str(tmp_path / "other"))
