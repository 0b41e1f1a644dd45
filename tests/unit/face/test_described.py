"""Specs in place of images: digests, reports and comparisons without reading what is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import Describing, Pushing
from nixdock.errors import ImageError, InputError, PackError

from ..registry.fake_registry import FakeRegistry, fake_registry

SampleSpec = Callable[..., Path]
CACHED = Describing(use_cache=True)
# Of these, no file of the store is needed for the image's own files.
BARE: dict[str, Any] = {"contents": [], "config": {}}


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def remove_store(directory: Path) -> None:
    for path in (directory / "root").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(directory / "root")


def push(spec: Path, destination: str) -> str:
    parsed = nixdock.read_spec(spec)
    return nixdock.push_image(parsed, [destination], Pushing(use_cache=False)).digest


def image_of(report: nixdock.FileReport) -> dict[str, Any]:
    (image,) = report.document()["images"]
    return dict(image)


def inspected(spec: Path, **options: Any) -> dict[str, Any]:
    return image_of(nixdock.inspect_image(nixdock.read_spec(spec), **options))


# Digests.


def test_digests_need_no_file_of_layers_in_a_reused_image(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path, **BARE))
    alone = nixdock.image_digests(spec)
    nixdock.build_image(spec, tmp_path / "image.tar")
    nixdock.push_image(spec, [f"{fake.host}/a"], Pushing(use_cache=False))
    remove_store(tmp_path)
    for place in (f"{fake.host}/a", f"docker://{fake.host}/a:latest", str(tmp_path / "image.tar")):
        assert nixdock.image_digests(spec, reuse=[place]) == alone
    with pytest.raises(PackError):
        nixdock.image_digests(spec)
    with pytest.raises(PackError):
        nixdock.image_digests(spec, compression="zstd", reuse=[f"{fake.host}/a"])


def test_the_cache_learns_from_builds_and_from_digests(
    sample_spec: SampleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path, **BARE))
    gzip = nixdock.build_image(spec, tmp_path / "image.tar")
    zstd = nixdock.image_digests(spec, compression="zstd", use_cache=True)
    nixdock.remember_layers(gzip)
    plain = nixdock.build_image(spec, tmp_path / "docker.tar", form="docker-archive")
    nixdock.remember_layers(plain)
    remove_store(tmp_path)
    assert nixdock.image_digests(spec, use_cache=True) == gzip
    assert nixdock.image_digests(spec, compression="zstd", use_cache=True) == zstd
    assert nixdock.image_digests(spec, form="docker-archive", use_cache=True) == plain
    # The results of a Nix build must not depend on it.
    monkeypatch.setenv("NIX_BUILD_TOP", "/build")
    with pytest.raises(PackError):
        nixdock.image_digests(spec, use_cache=True)


@pytest.mark.parametrize("place", ["docker://{host}/a", "oci:layout"])
def test_the_previous_image_is_a_source_without_being_named(
    sample_spec: SampleSpec,
    tmp_path: Path,
    fake: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    first = sample_spec(tmp_path, layering={"strategy": "stable"}, **BARE)
    push(first, f"{fake.host}/a")
    nixdock.build_image(nixdock.read_spec(first), tmp_path / "layout", form="oci-layout")
    previous = place.format(host=fake.host)
    layering = {"strategy": "stable", "previous": previous}
    spec = nixdock.read_spec(sample_spec(tmp_path, layering=layering, **BARE))
    alone = nixdock.image_digests(spec)
    remove_store(tmp_path)
    assert nixdock.image_digests(spec) == alone
    # The repository has these layers; without knowing that, they would be packed to ask for them.
    result = nixdock.push_image(spec, [f"{fake.host}/a:next"], Pushing(use_cache=False))
    assert result.digest == alone.manifest.digest
    assert {layer.outcome.value for layer in result.layers[:4]} <= {"known", "present"}


def test_a_previous_image_at_the_destination_is_asked_for_once(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    push(sample_spec(tmp_path, layering={"strategy": "stable"}), f"{fake.host}/a")
    layering = {"strategy": "stable", "previous": f"docker://{fake.host}/a"}
    spec = nixdock.read_spec(sample_spec(tmp_path, layering=layering))
    reference = f"{fake.host}/a"
    counts = []
    for reuse in ([], [reference]):
        fake.log.clear()
        options = Pushing(use_cache=False)
        counts.append(nixdock.push_image(spec, [reference], options, reuse=reuse).requests)
    assert counts[0] == counts[1]


def changed_app(sample_spec: SampleSpec, directory: Path, previous: str) -> nixdock.ImageSpec:
    """Return the spec of an update: its app has another hash than that of the previous image."""
    layering = {"strategy": "stable", "previous": previous}
    file = sample_spec(directory, layering=layering, **BARE)
    *others, app = json.loads((directory / "graph.json").read_text())
    app["narHash"] = f"sha256:{'1' * 52}"
    (directory / "graph.json").write_text(json.dumps([*others, app]))
    return nixdock.read_spec(file)


def remove_all_but_the_app(directory: Path) -> None:
    store = directory / "root/nix/store"
    (app,) = store.glob("*-app")
    app.rename(directory / "app")
    remove_store(directory)
    store.mkdir(parents=True)
    (directory / "app").rename(store / app.name)


def test_an_update_takes_no_file_but_those_of_its_app(
    sample_spec: SampleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = nixdock.read_spec(sample_spec(tmp_path, layering={"strategy": "stable"}, **BARE))
    nixdock.build_image(first, tmp_path / "layout", form="oci-layout", compression="zstd")
    spec = changed_app(sample_spec, tmp_path, "oci:layout")
    alone = nixdock.image_digests(spec, compression="zstd")
    remove_all_but_the_app(tmp_path)
    assert nixdock.image_digests(spec, compression="zstd") == alone
    with pytest.raises(PackError, match="-libc"):
        nixdock.image_digests(spec, compression="gzip")
    remove_store(tmp_path)
    with pytest.raises(PackError, match="-app"):
        nixdock.image_digests(spec, compression="zstd")


def test_a_previous_docker_archive_has_no_keys(
    sample_spec: SampleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan goes on, but all layers are read: nothing tells the hashes of their paths."""
    monkeypatch.chdir(tmp_path)
    first = nixdock.read_spec(sample_spec(tmp_path, layering={"strategy": "stable"}, **BARE))
    nixdock.build_image(first, tmp_path / "old.tar", form="docker-archive")
    spec = changed_app(sample_spec, tmp_path, "docker-archive:old.tar")
    before, after = (
        nixdock.image_digests(each, form="docker-archive").layers for each in (first, spec)
    )
    assert [blob.diff_id for blob in after] == [blob.diff_id for blob in before]
    remove_all_but_the_app(tmp_path)
    with pytest.raises(PackError, match="-libc"):
        nixdock.image_digests(spec, form="docker-archive")


def test_a_previous_plan_file_is_no_image(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path, layering={"strategy": "stable"}))
    plan = nixdock.resolve_spec(spec).plan_document("stable")
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    layering = {"strategy": "stable", "previous": "plan.json"}
    after = nixdock.read_spec(sample_spec(tmp_path, layering=layering))
    assert nixdock.image_digests(after).layers == nixdock.image_digests(spec).layers


# Reports.


@pytest.mark.parametrize(
    "changes",
    [
        {},
        BARE,
        {"nix_db": True},
        {"single_layer": True},
        {"perms": [{"path": "/nix/store", "mode": "0700"}]},
        {"extra_tags": ["v2", "other/name:v3"], "created": "2020-01-01T00:00:00Z"},
        {"architecture": "arm64", "variant": "v8", "config": {"Env": ["A=b"], "User": "1"}},
        {"extra_commands": f"mkdir -p nix/store/{'f' * 32}-made"},
    ],
)
def test_the_report_on_a_spec_is_that_on_its_image(
    sample_spec: SampleSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    file = sample_spec(tmp_path, **changes)
    spec = nixdock.read_spec(file)
    nixdock.build_image(spec, tmp_path / "image.tar")
    expected = image_of(nixdock.inspect_image(tmp_path / "image.tar"))
    assert nixdock.inspect_image(spec).format == "spec"
    for describing in (None, CACHED, CACHED, Describing(reuse=(str(tmp_path / "image.tar"),))):
        found = inspected(file, describing=describing)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == value, key
    resolved = tmp_path / "resolved.json"
    resolved.write_bytes(nixdock.spec_json(nixdock.resolve_spec(spec).spec))
    assert inspected(resolved) == expected


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_a_base_image_is_part_of_the_report(
    sample_spec: SampleSpec, tmp_path: Path, form: str
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    nixdock.build_image(
        nixdock.read_spec(sample_spec(base)), base / "base.tar", form=form, compression="gzip"
    )
    spec = sample_spec(tmp_path, from_image={"path": str(base / "base.tar")}, **BARE)
    nixdock.build_image(nixdock.read_spec(spec), tmp_path / "image.tar")
    expected = image_of(nixdock.inspect_image(tmp_path / "image.tar"))
    assert len(expected["layers"]) > 5
    assert inspected(spec) == expected
    quick = inspected(spec, quick=True)
    assert [layer["diff_id"] for layer in quick["layers"]][:5] == [
        layer["diff_id"] for layer in expected["layers"]
    ][:5]


def test_a_damaged_base_image_is_no_report(sample_spec: SampleSpec, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    file = base / "base.tar"
    nixdock.build_image(nixdock.read_spec(sample_spec(base)), file, compression="none")
    file.write_bytes(file.read_bytes().replace(b"the same", b"The same"))
    spec = sample_spec(tmp_path, from_image={"path": str(file)}, **BARE)
    for describing in (None, Describing(reuse=(str(file),))):
        with pytest.raises(ImageError, match=r"damaged|digest"):
            inspected(spec, describing=describing)


def test_a_report_reads_nothing_that_is_known(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, **BARE)
    push(spec, f"{fake.host}/a")
    expected = inspected(spec)
    remove_store(tmp_path)
    assert inspected(spec, describing=Describing(reuse=(f"{fake.host}/a",))) == expected
    # That did not use the cache, and so it has not learned anything.
    with pytest.raises(PackError):
        inspected(spec, describing=CACHED)


def test_a_quick_report_reads_nothing_at_all(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, nix_db=True, extra_commands="")
    push(spec, f"{fake.host}/a")
    full = inspected(spec)
    remove_store(tmp_path)
    unknown = inspected(spec, quick=True)
    reused = inspected(spec, quick=True, describing=Describing(reuse=(f"{fake.host}/a",)))
    for report, known in ((unknown, 0), (reused, 4)):
        assert (report["digest"], report["config_digest"]) == (None, None)
        same = {"tags", "architecture", "os", "variant", "created", "config"}
        assert {key: report[key] for key in same} == {key: full[key] for key in same}
        assert len(report["layers"]) == len(full["layers"]) == 6
        for i, (layer, whole) in enumerate(zip(report["layers"], full["layers"], strict=True)):
            assert layer["store_paths"] is None
            assert (layer["created_by"], layer["media_type"]) == (
                whole["created_by"],
                whole["media_type"],
            )
            for key in ("digest", "diff_id", "size"):
                assert layer[key] == (whole[key] if i < known else None)


def test_a_quick_report_has_all_digests_if_all_layers_are_known(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    file = sample_spec(tmp_path)
    spec = nixdock.read_spec(file)
    nixdock.pack_top_layer(spec, tmp_path / "top")
    with_top = sample_spec(
        tmp_path, top_layer=str(tmp_path / "top"), contents=[], extra_commands=""
    )
    for single in (False, True):
        document = json.loads(with_top.read_text()) | {"single_layer": single}
        with_top.write_text(json.dumps(document))
        full = inspected(with_top, describing=CACHED)
        quick = inspected(with_top, quick=True, describing=CACHED)
        assert quick == full | {
            "layers": [layer | {"store_paths": None} for layer in full["layers"]]
        }
        assert quick["digest"]


def test_rules_for_permissions_leave_quick_reports_without_digests(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    spec = sample_spec(tmp_path, perms=[{"path": "/nix/store", "mode": "0700"}])
    inspected(spec, describing=CACHED)
    quick = inspected(spec, quick=True, describing=CACHED)
    assert {layer["digest"] for layer in quick["layers"]} == {None}


def test_a_spec_for_another_platform(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    for quick in (False, True):
        assert inspected(spec, platform="linux/amd64", quick=quick)["architecture"] == "amd64"
        with pytest.raises(InputError) as caught:
            inspected(spec, platform="linux/arm64", quick=quick)
        assert str(caught.value) == (
            "the spec describes x/y:v1 for linux/amd64, not for linux/arm64"
        )


# Comparisons.


def updated(spec: Path, directory: Path) -> None:
    """Change the app, as another build of it would."""
    graph = json.loads((directory / "graph.json").read_text())
    (app,) = (info for info in graph if info["path"].endswith("-app"))
    app["narHash"] = f"sha256:{'1' * 52}"
    (directory / "graph.json").write_text(json.dumps(graph))
    file = directory / f"root/nix/store/{'d' * 32}-app/etc/app.conf"
    file.chmod(0o644)
    file.write_bytes(b"on = false\n")
    file.chmod(0o444)


def test_a_comparison_says_what_a_push_would_send(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a")
    place = f"docker://{fake.host}/a"
    same = nixdock.diff_images(place, spec)
    assert (same.transfers.registry.total, same.new.kind, same.basis) == (0, "spec", "digest")
    updated(spec, tmp_path)
    # Nothing of the layers that the image has is read.
    libc = tmp_path / f"root/nix/store/{'a' * 32}-libc"
    for path in (libc, *libc.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(libc)
    diff = nixdock.diff_images(place, spec)
    parsed = nixdock.read_spec(spec)
    sent = nixdock.push_image(parsed, [f"{fake.host}/a"], Pushing(use_cache=False)).sent
    transfer = diff.transfers.registry
    assert transfer.layers == 1
    # The push puts the manifest twice: under its digest, and under its tag.
    assert sent == transfer.total + transfer.manifest_bytes
    back = nixdock.diff_images(spec, place)
    assert (back.transfers.registry.total, back.old.kind) == (0, "spec")


@pytest.mark.parametrize("form", ["archive", "docker-archive", "oci-layout"])
def test_a_spec_and_its_image_are_the_same(
    sample_spec: SampleSpec, tmp_path: Path, form: str
) -> None:
    spec = sample_spec(tmp_path)
    image = tmp_path / "image"
    nixdock.build_image(nixdock.read_spec(spec), image, form=form)
    diff = nixdock.diff_images(image, spec)
    assert {layer.status for layer in diff.layers} == {"kept"}
    assert [layer.layer.paths for layer in diff.layers] == [
        layer.layer.paths for layer in nixdock.diff_images(image, image).layers
    ]


def test_specs_are_compared_with_plans_and_graphs(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    plan = nixdock.resolve_spec(nixdock.read_spec(spec)).plan_document("popularity")
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    for other in ("plan.json", "graph.json"):
        diff = nixdock.diff_images(tmp_path / other, spec, layering=nixdock.Layering("popularity"))
        assert (diff.basis, diff.transfers.registry.layers) == ("store_paths", 0)
        assert [layer.number for layer in diff.unplanned] == [5]
        assert diff.document()["size_of"] == "blob"
