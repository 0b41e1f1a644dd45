"""Images for several platforms in one index: in files, in registries, and from each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

import nixdock
from nixdock import Access, ImageIndex, Indexing, InputError, Pushing

from ..image_schemas import schema_errors
from ..registry.fake_registry import FakeRegistry, Fault, digest_of
from ..transfer.samples import (
    INDEX,
    Platforms,
    Sample,
    archive_files,
    attestation,
    layout_blobs,
    sample,
    store,
)

SampleSpec = Callable[..., Path]
NO_CACHE = Pushing(use_cache=False)


def entries(document: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(document)["manifests"]
    return found


def platforms(result: ImageIndex) -> list[str]:
    return ["" if each.platform is None else each.document()["platform"] for each in result.images]


def root_of(layout: Path) -> bytes:
    """Return the only document that the `index.json` of a layout lists."""
    (entry,) = {each["digest"] for each in entries((layout / "index.json").read_bytes())}
    return layout_blobs(layout)[entry]


@pytest.fixture
def specs(sample_spec: SampleSpec, tmp_path: Path) -> list[nixdock.ImageSpec]:
    """Specs for three platforms, in no order."""
    found = []
    for architecture, variant in (("arm64", None), ("arm", "v6"), ("amd64", None)):
        directory = tmp_path / f"{architecture}{variant or ''}"
        directory.mkdir()
        spec = sample_spec(directory, architecture=architecture, variant=variant)
        found.append(nixdock.read_spec(spec))
    return found


@pytest.fixture
def layouts(specs: Sequence[nixdock.ImageSpec], tmp_path: Path) -> list[Path]:
    """The same images in layouts."""
    found = []
    for spec in specs:
        found.append(tmp_path / f"{spec.architecture}{spec.variant or ''}/layout")
        nixdock.build_image(spec, found[-1], form="oci-layout")
    return found


def test_an_index_is_the_same_everywhere(
    specs: Sequence[nixdock.ImageSpec],
    layouts: Sequence[Path],
    fake: FakeRegistry,
    access: Access,
    tmp_path: Path,
) -> None:
    """From specs and from images, in files and in a registry, in any order of the arguments."""
    first = nixdock.build_index(specs, tmp_path / "a", form="oci-layout")
    assert platforms(first) == ["linux/amd64", "linux/arm/v6", "linux/arm64"]
    assert first.names == ("x/y:v1",)
    assert root_of(tmp_path / "a") == first.manifest.data
    assert schema_errors("image-index-schema.json", json.loads(first.manifest.data)) == []
    manifests = {each["digest"] for each in entries(first.manifest.data)}
    built = {digest_of(root_of(layout)) for layout in layouts}
    assert manifests == built
    for i, order in enumerate(itertools.permutations(layouts)):
        again = nixdock.build_index(order, tmp_path / f"{i}.tar", form="oci-archive")
        assert again.manifest == first.manifest
    nixdock.build_index(specs, tmp_path / "6.tar", form="oci-archive")
    assert len({(tmp_path / f"{i}.tar").read_bytes() for i in range(7)}) == 1
    every: list[Sequence[nixdock.ImageSpec | Path]] = [specs, layouts]
    for images in every:
        reference = f"{fake.host}/{'specs' if images is specs else 'layouts'}:v1"
        pushed = nixdock.push_index(images, [reference], None, NO_CACHE, access=access)
        stored = fake.manifest(reference.partition("/")[2].partition(":")[0], "v1")
        assert stored is not None
        assert (stored.media_type, stored.data) == (INDEX, first.manifest.data)
        assert pushed.references == (f"{reference.rpartition(':')[0]}@{first.digest}",)


def test_an_index_is_pushed_after_its_images_and_tags_come_last(
    specs: Sequence[nixdock.ImageSpec], layouts: Sequence[Path], fake: FakeRegistry, access: Access
) -> None:
    images: list[nixdock.ImageSpec | Path] = [specs[0], *layouts[1:]]
    references = [f"{fake.host}/x:{tag}" for tag in ("v1", "latest")]
    result = nixdock.push_index(images, references, None, NO_CACHE, access=access)
    put = [route.rpartition("/")[2] for route in fake.routes("PUT", "/manifests/")]
    assert put[-1] == "latest"
    digests = [each.digest for each in result.images]
    assert sorted(put[:3]) == sorted(digests)
    assert put[3:] == [result.digest, "v1", "latest"]
    assert fake.tags["x"] == dict.fromkeys(("v1", "latest"), result.digest)
    sent = [request for request in fake.requests("PUT|POST|PATCH") if "/manifests/" in request.path]
    assert len(sent) == len(put)
    fake.log.clear()
    again = nixdock.push_index(images, references, None, NO_CACHE, access=access)
    assert (again.digest, again.sent) == (result.digest, 0)
    assert fake.requests("PUT|POST|PATCH") == []


def test_a_spec_continues_the_image_for_its_platform(
    sample_spec: SampleSpec,
    specs: Sequence[nixdock.ImageSpec],
    fake: FakeRegistry,
    access: Access,
    tmp_path: Path,
) -> None:
    """Layers of the index that is replaced are neither read nor sent."""
    reference = f"{fake.host}/x:v1"
    nixdock.push_index(specs, [reference], None, NO_CACHE, access=access)
    changed = nixdock.read_spec(
        sample_spec(tmp_path / "arm64", architecture="arm64", config={"Cmd": ["/bin/other"]})
    )
    fake.log.clear()
    after = nixdock.push_index([changed, *specs[1:]], [reference], None, NO_CACHE, access=access)
    assert after.sent < 10_000
    own = {each["digest"] for each in entries(after.manifest.data)}
    assert own & set(fake.manifests["x"]) == own
    # The config of the changed image, and no layer.
    assert len(fake.requests("PUT", "/blobs/")) == 1


def replace_app(spec: Path) -> None:
    """Let the app be that of another build, which has another store path."""
    old, new = f"{'d' * 32}-app", f"{'f' * 32}-app"
    store_dir = spec.parent / "root/nix/store"
    (store_dir / old).rename(store_dir / new)
    for file in (spec, spec.parent / "graph.json"):
        file.write_text(file.read_text().replace(old, new))


def test_a_spec_continues_the_plan_of_the_image_for_its_platform(
    sample_spec: SampleSpec, fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """The image for arm64 remembers one update, that of its own."""
    reference, steps = f"{fake.host}/x:v1", []
    for number in range(2):
        specs = []
        for architecture in ("amd64", "arm64"):
            (tmp_path / f"{architecture}{number}").mkdir()
            spec = sample_spec(
                tmp_path / f"{architecture}{number}",
                architecture=architecture,
                layering={"strategy": "stable"},
                config={"Cmd": [str(number)]},
            )
            if architecture == "arm64" and number:
                replace_app(spec)
            specs.append(nixdock.read_spec(spec))
        nixdock.push_index(specs, [reference], None, NO_CACHE, access=access)
        images = nixdock.inspect_image(f"docker://{reference}", quick=True, access=access).images
        configs = [json.loads(fake.blobs["x"][each.config_digest or ""]) for each in images]
        steps.append([config["dev.nixdock.memory"].get("steps", 0) for config in configs])
    assert steps == [[0, 0], [0, 1]]


def test_indexes_and_their_attestations_are_taken_over(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    both = Platforms()
    both.store(fake, "x", "v1")
    extra = sample("riscv", architecture="riscv64")
    store(fake, "y", extra, "v1")
    sources = [f"docker://{fake.host}/y:v1", f"docker://{fake.host}/x:v1"]
    result = nixdock.build_index(sources, tmp_path / "a", form="oci-layout", access=access)
    assert [each.digest for each in result.images] == [
        both.amd64.digest,
        both.arm64.digest,
        extra.digest,
        both.attestation.digest,
    ]
    listed = entries(result.manifest.data)
    # What the index said of them stays.
    assert [each for each in listed if each["digest"] != extra.digest] == both.index["manifests"]
    assert listed[2]["platform"] == {"architecture": "riscv64", "os": "linux"}
    assert nixdock.verify_image(tmp_path / "a", strict=True).problems == ()
    # An index of the result and of nothing else is the same, also through nested indexes.
    nested = fake.add_manifest(
        "x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_descriptor(both.index)]}, "n"
    )
    assert nested != digest_of(json.dumps(both.index).encode())
    sources[1] = f"docker://{fake.host}/x:n"
    again = nixdock.build_index(sources, tmp_path / "b", form="oci-layout", access=access)
    assert again.manifest == result.manifest
    target = f"{fake.host}/z:v1"
    pushed = nixdock.push_index([tmp_path / "a"], [target], access=access)
    assert pushed.manifest == result.manifest
    assert nixdock.verify_image(f"docker://{target}", strict=True, access=access).problems == ()


def test_attachments_go_along_if_they_are_asked_for(
    layouts: Sequence[Path], fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    remote = f"docker://{fake.host}/x:v1"
    nixdock.copy_image(f"oci:{layouts[1]}", remote, access=access)
    sources = [f"oci:{layouts[0]}", remote]

    def attach(place: str, text: str) -> str:
        return nixdock.attach_artifact(place, text.encode(), "text/x-test", access=access).digest

    attached = {f"linux/{each}": attach(place, each)
                for each, place in zip(("arm64", "arm/v6"), sources, strict=True)}  # fmt: skip
    of_attachment = attach(remote.replace(":v1", f"@{attached['linux/arm/v6']}"), "of it")
    every = {*attached.values(), of_attachment}
    layout, pushed = tmp_path / "index", f"docker://{fake.host}/z:v1"

    def built(*, referrers: bool) -> list[ImageIndex]:
        options = Indexing(referrers=referrers)
        file = nixdock.build_index(sources, layout, options, form="oci-layout", access=access)
        places = [pushed.removeprefix("docker://")]
        return [file, nixdock.push_index(sources, places, options, access=access)]

    def listed(place: str, platform: str) -> list[str]:
        found = nixdock.list_referrers(place, platform=platform, access=access)[1]
        return [each.digest for each in found]

    without = built(referrers=False)
    assert [each.attachments for each in without] == [(), ()]
    assert [listed(str(layout), platform) for platform in attached] == [[], []]
    results = built(referrers=True)
    assert [each.digest for each in results] == [each.digest for each in without]
    for result in results:
        assert {each.manifest.digest for each in result.attachments} == every
        assert {each["digest"] for each in result.document()["attachments"]} == every
    for place in (str(layout), pushed):
        assert {each: listed(place, each) for each in attached} == {
            each: [digest] for each, digest in attached.items()
        }
        assert nixdock.verify_image(place, strict=True, access=access).problems == ()
    assert of_attachment in fake.manifests["z"]
    assert f"blobs/sha256/{of_attachment.removeprefix('sha256:')}" in {
        str(each.relative_to(layout)) for each in layout.rglob("*")
    }


def _descriptor(document: dict[str, Any]) -> dict[str, Any]:
    data = orjson.dumps(document)
    return {"mediaType": INDEX, "digest": digest_of(data), "size": len(data)}


def test_blobs_are_mounted_from_where_each_image_is(
    fake: FakeRegistry, other: FakeRegistry, access: Access
) -> None:
    one, two = sample("base", "one"), sample("base", "two", architecture="arm64")
    three = sample("three", architecture="s390x")
    store(fake, "one", one, "v1")
    store(fake, "two", two, "v1")
    store(other, "three", three, "v1")
    sources = [
        *(f"docker://{fake.host}/{name}:v1" for name in ("one", "two")),
        f"docker://{other.host}/three:v1",
    ]
    result = nixdock.push_index(sources, [f"{fake.host}/all:v1"], access=access)
    assert result.read == sum(map(len, three.blobs.values()))
    mounts = [request.path for request in fake.requests("POST", "mount=")]
    assert sum("from=one" in path for path in mounts) == 3
    assert sum("from=two" in path for path in mounts) == 2
    assert fake.blobs["all"].items() >= {**one.blobs, **two.blobs, **three.blobs}.items()


@pytest.mark.parametrize(
    ("first", "second", "platform"),
    [
        ({"architecture": "amd64"}, {"architecture": "amd64"}, "linux/amd64"),
        ({"architecture": "arm64"}, {"architecture": "arm64", "variant": "v8"}, "linux/arm64/v8"),
        ({"architecture": "arm", "variant": "v7"}, {"architecture": "arm"}, "linux/arm"),
    ],
)
def test_two_images_for_a_platform(
    sample_spec: SampleSpec,
    fake: FakeRegistry,
    access: Access,
    tmp_path: Path,
    first: dict[str, str],
    second: dict[str, str],
    platform: str,
) -> None:
    found = []
    for name, keys in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        config = {"Cmd": ["/bin/app", name]}
        spec = sample_spec(tmp_path / name, name=name, config=config, **keys)
        found.append(nixdock.read_spec(spec))
    nixdock.build_image(found[0], tmp_path / "a.tar")
    message = (
        f"{tmp_path}/a.tar and the spec of b:v1 for {platform} are both for {platform}; an index"
        " has one image for a platform, so leave one of them out"
    )
    images: list[nixdock.ImageSpec | Path] = [tmp_path / "a.tar", found[1]]
    for order in (images, images[::-1]):
        with pytest.raises(InputError) as caught:
            nixdock.push_index(order, [f"{fake.host}/x:v1"], access=access)
        assert str(caught.value) == message
    assert fake.log == []
    nixdock.build_image(found[1], tmp_path / "b.tar")
    with pytest.raises(InputError, match=r"/a\.tar and .*/b\.tar are both for "):
        nixdock.build_index([tmp_path / "a.tar", tmp_path / "b.tar"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_specs_of_a_name_for_a_platform(sample_spec: SampleSpec, tmp_path: Path) -> None:
    specs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = {"Cmd": ["/bin/app", name]}
        specs.append(nixdock.read_spec(sample_spec(tmp_path / name, config=config)))
    message = r"the spec of x/y:v1 for linux/amd64 and .* \(image 2\) are both for linux/amd64"
    with pytest.raises(InputError, match=message):
        nixdock.build_index(specs, tmp_path / "out")


def test_what_is_wrong_with_a_spec_names_it(
    sample_spec: SampleSpec, fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """Of one spec alone, the command line knows the file."""
    whole = nixdock.read_spec(sample_spec(tmp_path, architecture="amd64"))
    broken = sample_spec(tmp_path, architecture="arm64", extra_commands="exit 7")
    failing = nixdock.read_spec(broken)
    images = [whole, failing]
    failure = "the spec of x/y:v1 for linux/arm64: extra_commands failed with exit status 7"
    with pytest.raises(nixdock.ScriptError, match=f"^{failure}$"):
        nixdock.build_index(images, tmp_path / "out", form="oci-layout")
    with pytest.raises(nixdock.ScriptError, match=f"^{failure}$"):
        nixdock.push_index(images, [f"{fake.host}/x:v1"], None, NO_CACHE, access=access)
    with pytest.raises(nixdock.ScriptError, match=r"^extra_commands failed"):
        nixdock.build_index([failing], tmp_path / "out", form="oci-layout")
    with pytest.raises(InputError, match=r"^'A B' is not an image reference"):
        nixdock.push_index(images, [f"{fake.host}/x:v1"], reuse=["A B"], access=access)
    fake.faults = [Fault("PUT", "", status=403)]
    with pytest.raises(nixdock.RegistryError, match=f"^{fake.host}/x: "):
        nixdock.push_index(images, [f"{fake.host}/x:v1"], None, NO_CACHE, access=access)
    assert not (tmp_path / "out").exists()


def test_the_same_image_twice_is_one(layouts: Sequence[Path], tmp_path: Path) -> None:
    (tmp_path / "copy").symlink_to(layouts[0])
    result = nixdock.build_index([layouts[0], tmp_path / "copy"], tmp_path / "out")
    assert platforms(result) == ["linux/arm64"]


def test_variants_are_platforms_of_their_own(sample_spec: SampleSpec, tmp_path: Path) -> None:
    images = []
    for variant in ("v7", "v5", "v6"):
        (tmp_path / variant).mkdir()
        spec = sample_spec(tmp_path / variant, architecture="arm", variant=variant)
        images.append(nixdock.read_spec(spec))
    target = tmp_path / "out.tar"
    result = nixdock.build_index(images, target)
    assert platforms(result) == ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"]
    for variant in ("v5", "v6", "v7"):
        (report,) = nixdock.inspect_image(target, platform=f"linux/arm/{variant}").images
        assert report.variant == variant


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there is nothing to put into an index; name at least one image"),
        (["HOST/x:artifact"], "HOST/x:artifact has no image, but sha256:.*, an artifact"),
        (["HOST/x:nowhere"], "does not say for which platform it is, only unknown/unknown"),
        (["HOST/x:empty"], "has no image, but sha256:.*, an artifact"),
    ],
)
def test_what_is_no_image(
    fake: FakeRegistry, access: Access, tmp_path: Path, images: list[str], message: str
) -> None:
    store(fake, "x", attestation(sample("one")), "empty")
    nowhere = sample("one", architecture="")
    config = nowhere.config.replace(b'"linux"', b'""')
    manifest = nowhere.manifest.replace(
        digest_of(nowhere.config).encode(), digest_of(config).encode()
    ).replace(f'"size": {len(nowhere.config)}'.encode(), f'"size": {len(config)}'.encode())
    store(fake, "x", Sample(config, manifest, nowhere.layers), "nowhere")
    artifact = sample("one")
    other = artifact.manifest.replace(b"image.config", b"image.other")
    store(fake, "x", Sample(artifact.config, other, artifact.layers), "artifact")
    sources = [f"docker://{image.replace('HOST', fake.host)}" for image in images]
    with pytest.raises(InputError, match=message.replace("HOST", fake.host)):
        nixdock.build_index(sources, tmp_path / "out", access=access)
    assert not (tmp_path / "out").exists()


def test_a_docker_archive_holds_no_index(layouts: Sequence[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a docker-archive holds no index, only single images"):
        nixdock.build_index(layouts, tmp_path / "out", form="docker-archive")
    # But it may be what an index is made from: a manifest is made for its image.
    nixdock.copy_image(str(layouts[0]), f"docker-archive:{tmp_path}/docker.tar")
    result = nixdock.build_index([tmp_path / "docker.tar", layouts[1]], tmp_path / "out")
    assert platforms(result) == ["linux/arm/v6", "linux/arm64"]
    assert nixdock.verify_image(tmp_path / "out", strict=True).problems == ()


def test_names_and_annotations(layouts: Sequence[Path], tmp_path: Path) -> None:
    given = Indexing(names=("a/b:1", "a/b:latest"), annotations={"key": "value"})
    result = nixdock.build_index(layouts, tmp_path / "out", given, form="oci-layout")
    assert json.loads(result.manifest.data)["annotations"]["key"] == "value"
    index = entries((tmp_path / "out/index.json").read_bytes())
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in index] == [
        "1",
        "latest",
    ]
    # Docker, which knows no indexes in archives, gets the first image if none is for linux/amd64.
    nixdock.build_index(layouts, tmp_path / "out.tar", given)
    files = archive_files(tmp_path / "out.tar")
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == ["a/b:1", "a/b:latest"]
    assert json.loads(files[docker["Config"]])["architecture"] == "amd64"


def test_the_index_has_the_annotations_that_all_images_share(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    specs = []
    for architecture, source in (("amd64", "https://one"), ("arm64", "https://two")):
        (tmp_path / architecture).mkdir()
        annotations = {
            "org.opencontainers.image.source": source,
            "org.opencontainers.image.licenses": "MIT",
            "mine": "x",
        }
        spec = sample_spec(
            tmp_path / architecture, architecture=architecture, annotations=annotations
        )
        specs.append(nixdock.read_spec(spec))
    shared = {
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.title": "y",
        "org.opencontainers.image.version": "v1",
    }
    result = nixdock.build_index(specs, tmp_path / "a")
    assert json.loads(result.manifest.data)["annotations"] == result.annotations == shared
    own = Indexing(annotations={"org.opencontainers.image.title": "mine"})
    result = nixdock.build_index(specs, tmp_path / "a", own)
    assert result.annotations == shared | {"org.opencontainers.image.title": "mine"}
    none = Indexing(default_annotations=False)
    result = nixdock.build_index(specs, tmp_path / "a", none)
    assert "annotations" not in json.loads(result.manifest.data)
