"""Layouts in directories: what is added to them in place, and what is replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.errors import OutputError
from nixdock.registry.access import Access
from nixdock.transfer import layout_output

from ..mounts import KINDS, run_with_mount
from ..registry.fake_registry import FakeRegistry, Fault, digest_of
from .samples import Sample, layout_blobs, sample, store

NAMES = ["a", "b", "c", "d", "e", "f"]
REF_NAME = "org.opencontainers.image.ref.name"


def file_of(layout: Path, data: bytes) -> Path:
    return layout / "blobs/sha256" / digest_of(data)[7:]


def index_of(layout: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    return found


def names_in(layout: Path) -> list[str]:
    annotations = [entry.get("annotations", {}) for entry in index_of(layout)["manifests"]]
    return sorted(each[REF_NAME] for each in annotations if REF_NAME in each)


def all_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.fixture
def one(fake: FakeRegistry) -> Sample:
    """An image in a registry, as x:one."""
    found = sample("base", "one")
    store(fake, "x", found, "one")
    return found


@pytest.fixture
def two(fake: FakeRegistry) -> Sample:
    """Another one with the same base, as x:two."""
    found = sample("base", "two")
    store(fake, "x", found, "two")
    return found


@pytest.fixture
def layout(fake: FakeRegistry, one: Sample, access: Access, tmp_path: Path) -> Path:
    """The first image in a layout, with the tag one."""
    target = tmp_path / "layout"
    nixdock.pull_image(f"{fake.host}/x:one", target, form="oci-layout", access=access)
    return target


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nixdock", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_all_succeed(started: list[subprocess.Popen[str]]) -> None:
    for each in started:
        _, stderr = each.communicate(timeout=60)
        assert each.returncode == 0, stderr


# At the same time.


@pytest.mark.parametrize("earlier", [True, False])
def test_copies_at_the_same_time_keep_each_others_images(
    fake: FakeRegistry, two: Sample, layout: Path, earlier: bool
) -> None:
    if not earlier:
        shutil.rmtree(layout)
    source = f"docker://{fake.host}/x:two"
    assert_all_succeed([start("copy", source, f"oci:{layout}:{name}") for name in NAMES])
    assert names_in(layout) == sorted(NAMES + ["one"] * earlier)
    assert nixdock.verify_image(layout).problems == ()
    assert sorted(os.listdir(layout)) == ["blobs", "index.json", "oci-layout"]
    assert sorted(os.listdir(layout.parent)) == ["home", "layout"]


def test_copies_and_attachments_at_the_same_time_keep_each_other(
    fake: FakeRegistry, two: Sample, layout: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_text("data")
    attach = ("attach", f"oci:{layout}:one", "--file", str(data), "--type")
    started = [start("copy", f"docker://{fake.host}/x:two", f"oci:{layout}:{n}") for n in "abc"]
    assert_all_succeed([*started, *(start(*attach, f"text/{name}") for name in "abc")])
    assert len(nixdock.list_referrers(f"oci:{layout}:one")[1]) == 3
    assert names_in(layout) == ["a", "b", "c", "one"]
    assert nixdock.verify_image(layout).problems == ()


def test_a_blob_that_is_removed_meanwhile_is_put_back(
    fake: FakeRegistry,
    one: Sample,
    two: Sample,
    layout: Path,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another copy replaces the image whose layer this one has found."""
    store(fake, "x", sample("third"), "third")
    put = layout_output._Grown.put

    def put_later(self: Any, content: Any) -> None:
        monkeypatch.setattr(layout_output._Grown, "put", put)
        nixdock.copy_image(f"docker://{fake.host}/x:third", f"oci:{layout}:one", access=access)
        assert not file_of(layout, one.layers[0]).exists()
        put(self, content)

    monkeypatch.setattr(layout_output._Grown, "put", put_later)
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    assert names_in(layout) == ["one", "two"]
    assert nixdock.verify_image(layout).problems == ()
    assert file_of(layout, one.layers[0]).read_bytes() == one.layers[0]


def test_a_layout_that_is_replaced_meanwhile_is_not_added_to(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = layout_output._Grown.put

    def put_later(self: Any, content: Any) -> None:
        nixdock.pull_image(f"{fake.host}/x:one", layout, form="oci-layout", access=access)
        put(self, content)

    monkeypatch.setattr(layout_output._Grown, "put", put_later)
    with pytest.raises(OutputError, match="was replaced by another process meanwhile; run the"):
        nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    assert names_in(layout) == ["one"]
    assert nixdock.verify_image(layout).problems == ()


# What stays.


@pytest.fixture
def foreign(layout: Path) -> dict[str, bytes]:
    """Files in the layout that no image of it has, by their names."""
    found = {
        "README": b"mine",
        f"blobs/sha512/{'0' * 128}": b"other",
        f"blobs/sha256/{digest_of(b'lonely')[7:]}": b"lonely",
        "below/deep/file": b"x",
    }
    for name, data in found.items():
        (layout / name).parent.mkdir(parents=True, exist_ok=True)
        (layout / name).write_bytes(data)
    return found


def test_a_copy_leaves_all_else_in_a_layout(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, foreign: dict[str, bytes]
) -> None:
    document = index_of(layout) | {"annotations": {"by": "me"}, "x.new": [1]}
    document["manifests"][0]["x.more"] = 2
    (layout / "index.json").write_text(json.dumps(document))
    layout.chmod(0o750)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    before = layout.stat()
    for tag in ("two", "one"):
        nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:{tag}", access=access)
        assert {name: (layout / name).read_bytes() for name in foreign} == foreign
        after = layout.stat()
        assert (after.st_ino, after.st_mode, after.st_uid, after.st_gid) == (
            *(before.st_ino, before.st_mode, before.st_uid, before.st_gid),
        )
        found = index_of(layout)
        assert (found["annotations"], found["x.new"]) == ({"by": "me"}, [1])
        if tag == "two":
            assert found["manifests"][0] == document["manifests"][0]
    assert names_in(layout) == ["one", "two"]
    assert (layout / "oci-layout").read_text() == '{"imageLayoutVersion": "1.0.0"}'


def test_only_blobs_of_a_replaced_image_are_removed(
    fake: FakeRegistry, one: Sample, two: Sample, layout: Path, access: Access
) -> None:
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    third = sample("third")
    store(fake, "x", third, "third")
    nixdock.copy_image(f"docker://{fake.host}/x:third", f"oci:{layout}:one", access=access)
    kept = {**two.blobs, two.digest: two.manifest, **third.blobs, third.digest: third.manifest}
    assert layout_blobs(layout) == kept


@pytest.mark.parametrize("name", ["docker.io/library/other:one", None])
def test_another_image_with_the_same_tag_is_not_replaced_in_silence(
    fake: FakeRegistry,
    one: Sample,
    two: Sample,
    layout: Path,
    access: Access,
    caplog: pytest.LogCaptureFixture,
    name: str | None,
) -> None:
    document = index_of(layout)
    if name is not None:
        document["manifests"][0]["annotations"]["io.containerd.image.name"] = name
        (layout / "index.json").write_text(json.dumps(document))
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:one", access=access)
    assert names_in(layout) == ["one"]
    said = [] if name is None else [f"{layout}: {name}, which has the same tag, is replaced"]
    assert caplog.messages == said


def test_an_image_with_another_tag_of_umoci_is_an_image_of_its_own(
    fake: FakeRegistry, one: Sample, two: Sample, layout: Path, access: Access
) -> None:
    """`umoci tag` and `umoci config --tag` leave containerd's full name as it was."""
    store(fake, "x", two, "one")
    document = index_of(layout)
    entry = document["manifests"][0]
    tagged = json.loads(json.dumps(entry))
    tagged["annotations"][REF_NAME] = "mine"
    document["manifests"].append(tagged)
    (layout / "index.json").write_text(json.dumps(document))
    (image,) = nixdock.inspect_image(layout).document()["images"]
    assert image["tags"] == [f"{fake.host}/x:one", f"{fake.host}/x:mine"]
    nixdock.copy_image(f"docker://{fake.host}/x:one", f"oci:{layout}:one", access=access)
    assert names_in(layout) == ["mine", "one"]
    assert nixdock.verify_image(layout).problems == ()
    for tag, image in (("mine", one), ("one", two)):
        nixdock.copy_image(f"oci:{layout}:{tag}", f"docker://{fake.host}/z:{tag}", access=access)
        assert fake.tags["z"][tag] == image.digest


def test_an_image_of_skopeo_with_the_same_name_is_replaced(
    fake: FakeRegistry, one: Sample, two: Sample, layout: Path, access: Access
) -> None:
    document = index_of(layout)
    document["manifests"][0]["annotations"] = {REF_NAME: "foo/bar:v1"}
    (layout / "index.json").write_text(json.dumps(document))
    named = f"oci:{layout}:foo/bar:v1"
    nixdock.copy_image(f"docker://{fake.host}/x:two", named, access=access)
    nixdock.copy_image(named, f"docker://{fake.host}/z:v1", access=access)
    assert fake.tags["z"]["v1"] == two.digest
    assert len(index_of(layout)["manifests"]) == 1


@pytest.mark.parametrize("how", ["damaged", "unknown"])
def test_what_can_not_be_read_may_need_any_blob(
    fake: FakeRegistry, one: Sample, two: Sample, layout: Path, access: Access, how: str
) -> None:
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    if how == "damaged":
        file_of(layout, two.manifest).write_bytes(b"{}")
    else:
        document = index_of(layout)
        document["manifests"][-1]["mediaType"] = "application/vnd.example+json"
        (layout / "index.json").write_text(json.dumps(document))
    third = sample("third")
    store(fake, "x", third, "third")
    nixdock.copy_image(f"docker://{fake.host}/x:third", f"oci:{layout}:one", access=access)
    assert one.blobs.items() <= layout_blobs(layout).items()
    assert names_in(layout) == ["one", "two"]


def test_the_index_of_a_layout_has_its_blobs_at_every_moment(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    replace, unlink = Path.replace, Path.unlink

    def look() -> None:
        report = nixdock.verify_image(layout)
        states.append((names_in(layout), report.problems))

    def replace_and_look(self: Path, target: Path) -> Path:
        found = replace(self, target)
        look()
        return found

    def unlink_and_look(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        look()

    monkeypatch.setattr(Path, "replace", replace_and_look)
    monkeypatch.setattr(Path, "unlink", unlink_and_look)
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:one", access=access)
    assert len(states) > 4
    assert {problems for _, problems in states} == {()}


def test_a_copy_that_fails_leaves_nothing_in_a_layout(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = all_below(layout), (layout / "index.json").read_bytes()
    fake.faults.append(Fault("GET", digest_of(two.layers[1]), status=404, times=9))
    with pytest.raises(nixdock.NixdockError):
        nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    assert (all_below(layout), (layout / "index.json").read_bytes()) == before
    fake.faults.clear()
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == layout / "index.json":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match=f"can't put {layout} in place: No space left on device"):
        nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    assert (all_below(layout), (layout / "index.json").read_bytes()) == before


def test_an_interrupt_after_the_index_leaves_its_blobs(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        replace(self, target)
        if target == layout / "index.json":
            raise KeyboardInterrupt
        return target

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{layout}:two", access=access)
    assert names_in(layout) == ["one", "two"]
    assert nixdock.verify_image(layout).problems == ()


def test_a_layout_whose_index_was_never_written_gets_one(
    fake: FakeRegistry, two: Sample, access: Access, tmp_path: Path
) -> None:
    target = tmp_path / "begun"
    target.mkdir()
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{target}:two", access=access)
    assert nixdock.verify_image(target).problems == ()


def test_a_layout_without_images_as_umoci_makes_it(
    fake: FakeRegistry, two: Sample, access: Access, tmp_path: Path
) -> None:
    target = tmp_path / "umoci"
    target.mkdir()
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (target / "index.json").write_text('{"schemaVersion":2,"manifests":null}')
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{target}:two", access=access)
    assert names_in(target) == ["two"]
    assert nixdock.verify_image(target).problems == ()


def test_an_empty_directory_stays_itself(
    fake: FakeRegistry, two: Sample, access: Access, tmp_path: Path
) -> None:
    target = tmp_path / "empty"
    target.mkdir(0o700)
    before = target.stat()
    nixdock.copy_image(f"docker://{fake.host}/x:two", f"oci:{target}:two", access=access)
    assert (target.stat().st_ino, target.stat().st_mode) == (before.st_ino, before.st_mode)
    assert nixdock.verify_image(target).problems == ()


def test_what_is_no_layout_is_not_added_to(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, tmp_path: Path
) -> None:
    source, target = f"docker://{fake.host}/x:two", tmp_path / "thesis"
    target.mkdir()
    (target / "chapter").touch()
    with pytest.raises(OutputError, match=r"thesis exists and is not an earlier output \(it has"):
        nixdock.copy_image(source, f"oci:{target}:two", access=access)
    assert all_below(target) == ["chapter"]
    (layout / "manifest.json").write_text("[]")
    with pytest.raises(OutputError, match=r"has manifest\.json, which lists all images for Docker"):
        nixdock.copy_image(source, f"oci:{layout}:two", access=access)
    assert names_in(layout) == ["one"]


# What is replaced.


@pytest.mark.parametrize("name", ["README", "below/deep/file", "blobs/sha256/notes"])
def test_a_pull_does_not_remove_what_is_of_no_layout(
    fake: FakeRegistry, layout: Path, access: Access, name: str
) -> None:
    file = layout / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    fake.log.clear()
    foreign = name.removesuffix("/file").removesuffix("/deep")
    message = f"layout has {foreign}, which is not part of an earlier output and would be lost"
    with pytest.raises(OutputError, match=message):
        nixdock.pull_image(f"{fake.host}/x:one", layout, form="oci-layout", access=access)
    assert file.read_text() == "mine"
    assert fake.requests("GET", "/blobs/") == []


def test_a_pull_replaces_all_blobs(
    fake: FakeRegistry, two: Sample, layout: Path, access: Access, foreign: dict[str, bytes]
) -> None:
    (layout / "README").unlink()
    shutil.rmtree(layout / "below")
    nixdock.pull_image(f"{fake.host}/x:two", layout, form="oci-layout", access=access)
    assert layout_blobs(layout) == {**two.blobs, two.digest: two.manifest}
    assert not (layout / "blobs/sha512").exists()


# Symlinks and mounts.


@pytest.mark.parametrize("command", ["copy", "pull"])
def test_a_symlink_to_a_layout(
    fake: FakeRegistry, two: Sample, layout: Path, tmp_path: Path, command: str
) -> None:
    link = tmp_path / "links" / "link"
    link.parent.mkdir()
    link.symlink_to("../layout")
    if command == "copy":
        started = start("copy", f"docker://{fake.host}/x:two", f"oci:{link}:two")
    else:
        started = start("pull", f"{fake.host}/x:two", "-o", str(link), "--format", "oci-layout")
    assert_all_succeed([started])
    assert link.is_symlink()
    assert names_in(layout) == (["one", "two"] if command == "copy" else ["two"])
    assert nixdock.verify_image(link).problems == ()
    assert os.listdir(link.parent) == ["link"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["copy", "pull", "build", "index"])
@pytest.mark.parametrize("state", ["empty", "a layout"])
def test_a_mount_point(
    fake: FakeRegistry,
    two: Sample,
    layout: Path,
    sample_spec: Callable[..., Path],
    tmp_path: Path,
    kind: str,
    command: str,
    state: str,
) -> None:
    volume, mounted = tmp_path / "volume", tmp_path / "parent/mounted"
    mounted.mkdir(parents=True)
    if state == "empty":
        volume.mkdir()
        (volume / "lost+found").mkdir()
    else:
        shutil.copytree(layout, volume)
    place, output = str(mounted), ("-o", str(mounted), "--format", "oci-layout")
    arguments = {
        "copy": ("copy", f"docker://{fake.host}/x:two", f"oci:{place}:two"),
        "pull": ("pull", f"{fake.host}/x:two", *output),
        "build": ("build", str(sample_spec(tmp_path)), *output),
        "index": ("index", f"docker://{fake.host}/x:two", *output),
    }
    done = run_with_mount(kind, volume, mounted, *arguments[command])
    assert done.returncode == 0, done.stderr
    assert nixdock.verify_image(volume).problems == ()
    keeps = command == "copy" and state != "empty"
    if command in {"copy", "pull"}:
        assert names_in(volume) == (["one", "two"] if keeps else ["two"])
    assert ("lost+found" in os.listdir(volume)) == (state == "empty")
    names = {*os.listdir(volume)} - {"lost+found"}
    assert sorted(names) == ["blobs", "index.json", "oci-layout"]
    if command == "pull":
        assert layout_blobs(volume) == {**two.blobs, two.digest: two.manifest}


@pytest.mark.parametrize("command", ["pull", "build"])
def test_foreign_files_at_a_mount_point_are_not_removed(
    fake: FakeRegistry,
    layout: Path,
    sample_spec: Callable[..., Path],
    tmp_path: Path,
    command: str,
) -> None:
    mounted = tmp_path / "parent/mounted"
    mounted.mkdir(parents=True)
    (layout / "README").touch()
    before = all_below(layout)
    what = f"{fake.host}/x:one" if command == "pull" else str(sample_spec(tmp_path))
    output = ("-o", str(mounted), "--format", "oci-layout")
    done = run_with_mount(KINDS[1], layout, mounted, command, what, *output)
    assert done.returncode != 0
    assert "mounted has README, which is not part of an earlier output" in done.stderr
    assert all_below(layout) == before
