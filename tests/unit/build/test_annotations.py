"""The annotations of images: what specs state, what is known, and the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import Access, ImageSpec, Pushing

from ..registry.fake_registry import FakeRegistry
from ..transfer.conftest import access, fake
from ..transfer.samples import Platforms, archive_files, layout_blobs, sample, store

__all__ = ["access", "fake"]

SampleSpec = Callable[..., Path]
STANDARD = "org.opencontainers.image."
NO_CACHE = Pushing(use_cache=False)


@pytest.fixture
def manifest(sample_spec: SampleSpec, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that gives the manifest of the image of a spec."""

    def build(**changes: object) -> Any:
        spec = nixdock.read_spec(sample_spec(tmp_path, **changes))
        return json.loads(nixdock.image_digests(spec).manifest.data)

    return build


def standard(document: Any) -> dict[str, str]:
    """Return the image-spec's annotations by the ends of their keys."""
    annotations = document.get("annotations", {})
    return {key.removeprefix(STANDARD): annotations[key] for key in annotations}


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.2.3", True),
        ("v2", True),
        ("2026-11-18", True),
        ("1.2rc1", True),
        ("3-alpine", True),
        ("latest", False),
        ("main", False),
        ("pr-7", False),
        ("v", False),
        ("4f857a0", False),
        ("0qdbhnhq4wlhbyg18hc6jx1r4xyyz5mc", False),
    ],
)
def test_a_tag_may_be_a_version(manifest: Callable[..., Any], tag: str, version: bool) -> None:
    found = standard(manifest(name="ghcr.io/me/hello", tag=tag))
    assert found == {"title": "hello"} | ({"version": tag} if version else {})


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, None),
        ("@0", None),
        ("1970-01-01T00:00:01Z", None),
        ("1980-01-01T00:00:00Z", None),
        ("2026-11-18T10:00:00+02:00", "2026-11-18T08:00:00Z"),
    ],
)
def test_a_time_that_stands_for_none_is_no_date(
    manifest: Callable[..., Any], created: str | None, expected: str | None
) -> None:
    assert standard(manifest(created=created)).get("created") == expected


def test_what_a_user_says_counts_most(manifest: Callable[..., Any]) -> None:
    labels = {f"{STANDARD}source": "https://x", f"{STANDARD}version": "2", "other": "y"}
    changes: dict[str, Any] = {
        "config": {"labels": labels},
        "labels": {f"{STANDARD}licenses": "MIT"},
        "annotations": {f"{STANDARD}version": "3", "mine": ""},
    }
    known = {"title": "y", "source": "https://x", "licenses": "MIT", "version": "3", "mine": ""}
    assert standard(manifest(**changes)) == known
    assert standard(manifest(**changes, default_annotations=False)) == {"version": "3", "mine": ""}
    assert "annotations" not in manifest(default_annotations=False)


def test_the_provenance_tells_the_revision(manifest: Callable[..., Any]) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    changes: dict[str, Any] = {"provenance": {"revision": revision}}
    assert standard(manifest(**changes))["revision"] == revision
    changes["labels"] = {f"{STANDARD}revision": "mine"}
    assert standard(manifest(**changes))["revision"] == "mine"


def test_labels_join_those_of_the_config(sample_spec: SampleSpec, tmp_path: Path) -> None:
    changes = {"config": {"Labels": {"a": "1", "b": "2"}}, "labels": {"b": "2", "c": "3"}}
    image = nixdock.image_digests(nixdock.read_spec(sample_spec(tmp_path, **changes)))
    labels = json.loads(image.config.data)["config"]["Labels"]
    assert labels == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"Labels": {"a": "1"}}, "labels": {"a": "2"}},
            r"labels\.a: config\.Labels has the value '1' for it; state one of the two",
        ),
        ({"annotations": {"": "x"}}, r"annotations: a key is empty"),
        ({"annotations": {"x": 1}}, r"annotations\['x'\]: "),
        ({"layer_annotations": {"dev.nixdock.layer.key": "x"}}, "nixdock has this annotation"),
        (
            {"from_image": {"path": "x.tar", "reference": "A B"}},
            r"from_image\.reference: 'A B' is not an image reference",
        ),
    ],
)
def test_what_a_spec_can_not_say(
    sample_spec: SampleSpec, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(nixdock.SpecError, match=message):
        nixdock.read_spec(sample_spec(tmp_path, **changes))


def test_new_layers_are_annotated_but_not_those_of_the_base(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    base = nixdock.read_spec(sample_spec(tmp_path / "base", contents=[], extra_commands="echo > a"))
    nixdock.build_image(base, tmp_path / "base.tar")
    # The graph's sizes are larger than the real ones: the base would have parts of the paths.
    graph = json.loads((tmp_path / "base/graph.json").read_bytes())
    (tmp_path / "sizes.json").write_text(json.dumps([info | {"narSize": 1} for info in graph]))
    spec = sample_spec(
        tmp_path,
        from_image={"path": str(tmp_path / "base.tar")},
        closure={"graph": "sizes.json"},
        layer_annotations={"kind": "new"},
        extra_commands="echo > b",
    )
    image = nixdock.image_digests(nixdock.read_spec(spec))
    layers = [layer.get("annotations", {}) for layer in json.loads(image.manifest.data)["layers"]]
    assert [layer.get("kind") for layer in layers] == [None] * 5 + ["new"]
    # A file does not tell where it comes from.
    known = standard(json.loads(image.manifest.data))
    digest = nixdock.image_digests(base).manifest.digest
    assert known == {"title": "y", "version": "v1", "base.digest": digest}


def base_annotations(spec: ImageSpec, access: Access) -> dict[str, str]:
    found = standard(json.loads(nixdock.image_digests(spec, access=access).manifest.data))
    return {key: found[key] for key in found if key.startswith("base.")}


def test_the_base_in_a_registry(
    sample_spec: SampleSpec, fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """The digest is that of the image whose layers are used, and the name has the tag."""
    both = Platforms()
    index = both.store(fake, "base", "v1")
    for architecture, base in (("amd64", both.amd64), ("arm64", both.arm64)):
        name = f"{fake.host}/base"
        keys: dict[str, Any] = {"architecture": architecture, "closure": None, "contents": []}
        spec = nixdock.read_spec(
            sample_spec(tmp_path, **keys, from_image={"path": f"docker://{name}:v1"})
        )
        expected = {"base.name": f"{name}:v1", "base.digest": base.digest}
        assert base_annotations(spec, access) == expected
        resolved = nixdock.resolve_spec(spec, access=access).spec
        assert resolved.from_image is not None
        assert resolved.from_image.path == f"docker://{name}:v1@{base.digest}"
        assert base_annotations(resolved, access) == expected
        pinned = nixdock.read_spec(
            sample_spec(tmp_path, **keys, from_image={"path": f"docker://{name}@{index}"})
        )
        at = f"{name}@{base.digest}"
        assert base_annotations(pinned, access) == {"base.name": at, "base.digest": base.digest}


@pytest.mark.parametrize("form", ["oci-layout", "docker-archive"])
def test_where_the_base_in_a_file_comes_from(
    sample_spec: SampleSpec, fake: FakeRegistry, access: Access, tmp_path: Path, form: str
) -> None:
    image = sample("one")
    digest = store(fake, "x", image, "v1")
    nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "base", form=form, access=access)
    base: dict[str, str] = {"path": str(tmp_path / "base")}
    keys: dict[str, Any] = {"closure": None, "contents": []}
    spec = nixdock.read_spec(sample_spec(tmp_path, **keys, from_image=base))
    known = {"base.digest": digest} if form == "oci-layout" else {}
    assert base_annotations(spec, access) == known
    base["reference"] = f"debian@{digest}"
    spec = nixdock.read_spec(sample_spec(tmp_path, **keys, from_image=base))
    name = f"docker.io/library/debian@{digest}"
    assert base_annotations(spec, access) == {"base.name": name, "base.digest": digest}


def test_labels_of_the_base_say_nothing_of_the_image(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    label = {f"{STANDARD}licenses": "MIT"}
    base = nixdock.read_spec(sample_spec(tmp_path / "base", labels=label))
    nixdock.build_image(base, tmp_path / "base.tar")
    spec = nixdock.read_spec(
        sample_spec(tmp_path, from_image={"path": str(tmp_path / "base.tar")}, inherit_config="all")
    )
    image = nixdock.image_digests(spec)
    assert json.loads(image.config.data)["config"]["Labels"] == label
    assert "licenses" not in standard(json.loads(image.manifest.data))


def test_one_digest_everywhere(
    sample_spec: SampleSpec, fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    """Pushed, built as a layout and as an archive, from the spec and from the resolved one."""
    spec = nixdock.read_spec(
        sample_spec(
            tmp_path,
            created="@1780000000",
            annotations={"mine": "é"},
            layer_annotations={"kind": "new"},
            labels={f"{STANDARD}source": "https://x"},
        )
    )
    digest = nixdock.push_image(spec, [f"{fake.host}/x:v1"], NO_CACHE, access=access).digest
    for number, each in enumerate((spec, nixdock.resolve_spec(spec).spec)):
        layout, archive = tmp_path / f"layout{number}", tmp_path / f"{number}.tar"
        nixdock.build_image(each, layout, form="oci-layout")
        nixdock.build_image(each, archive)
        assert json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"] == digest
        assert layout_blobs(layout)[digest] == archive_files(archive)[f"blobs/sha256/{digest[7:]}"]
        again = nixdock.push_image(each, [f"{fake.host}/y:v1"], NO_CACHE, access=access)
        assert again.digest == digest


def test_a_docker_archive_does_not_depend_on_annotations(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    """It has no manifest that could have them, and its config has none."""
    for name, changes in (
        ("with", {"annotations": {"a": "b"}, "layer_annotations": {"c": "d"}}),
        ("without", {"default_annotations": False}),
    ):
        spec = nixdock.read_spec(sample_spec(tmp_path, **changes))
        nixdock.build_image(spec, tmp_path / name, form="docker-archive")
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()
