"""Reading the previous plan from a plan file, a memory, an old label, or the tars of any image."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.cli import main
from nixdock.errors import ImageError, InputError, SpecError
from nixdock.face.plans import read_previous
from nixdock.layering import LayerPlan
from nixdock.layering.plan_file import plan_document
from nixdock.layering.plan_history import ChangeCounts, PlanHistory, PreviousPlan
from nixdock.layers.compression import Compression
from nixdock.nix.store_path import StorePath
from nixdock.oci.layout import Format
from nixdock.oci.own_keys import MEMORY_KEY, PLAN_LABEL
from nixdock.read.opening import open_image
from tests.unit.closures import closure_of, edges, store_path
from tests.unit.forms import FORMS

LIBC, SCRIPT, LINK, APP = (
    StorePath.parse(f"/nix/store/{letter * 32}-{name}")
    for letter, name in zip("abcd", ("libc", "script", "link", "app"), strict=True)
)

Write = Callable[..., Path]


def build(spec: Path, form: Format = Format.OCI_LAYOUT, compression: str = "none") -> Path:
    target = spec.parent / f"{form}-{compression}"
    args = ["build", str(spec), "-q", "--format", form.value, "--compression", compression]
    main.main([*args, "-o", str(target)], standalone_mode=False)
    return target


def small_plan() -> LayerPlan:
    closure = closure_of(edges("app->lib; lib->libc; data"))
    return LayerPlan.of(
        closure,
        [[store_path("libc")], [store_path("lib"), store_path("data")], [store_path("app")]],
    )


def test_a_plan_file(tmp_path: Path) -> None:
    plan = small_plan()
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan_document(plan, "auto", plan.history)))
    assert read_previous(file).layers == tuple(layer.paths for layer in plan.layers)


def test_a_plan_from_a_pipe_is_read_once(tmp_path: Path) -> None:
    plan = small_plan()
    pipe = tmp_path / "plan"
    os.mkfifo(pipe)
    document = json.dumps(plan_document(plan, "auto", plan.history))
    writer = threading.Thread(target=pipe.write_text, args=(document,), daemon=True)
    writer.start()
    assert read_previous(pipe).layers == tuple(layer.paths for layer in plan.layers)
    writer.join(timeout=10)
    assert not writer.is_alive()


@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_an_image_in_every_form(
    tmp_path: Path, sample_spec: Write, form: Format, compression: Compression
) -> None:
    plan = read_previous(build(sample_spec(tmp_path), form, str(compression)))
    assert sorted(plan.layers) == [(LIBC,), (SCRIPT,), (LINK,), (APP,)]


def test_paths_are_in_the_order_of_the_tar(tmp_path: Path, sample_spec: Write) -> None:
    file = sample_spec(
        tmp_path,
        closure=None,
        store_layers=[[str(SCRIPT), str(LIBC)], [str(APP), str(LINK)]],
    )
    assert read_previous(build(file)).layers == ((SCRIPT, LIBC), (APP, LINK))


LABEL = {
    "version": 1,
    "store": "/nix/store",
    "layers": [[path.base_name for path in layer.paths] for layer in small_plan().layers],
}


def with_label(directory: Path, sample_spec: Write, label: str) -> Path:
    """Build an image of two layers without a memory, and with the label of an older nixdock."""
    return build(
        sample_spec(
            directory,
            closure=None,
            store_layers=[[str(SCRIPT), str(LIBC)], [str(APP), str(LINK)]],
            config={"Labels": {PLAN_LABEL: label}},
        )
    )


def test_an_old_label_is_preferred_to_the_tars(tmp_path: Path, sample_spec: Write) -> None:
    plan = read_previous(with_label(tmp_path, sample_spec, json.dumps(LABEL)))
    assert plan.layers == tuple(layer.paths for layer in small_plan().layers)


def test_a_damaged_label_is_a_warning(
    tmp_path: Path, sample_spec: Write, caplog: pytest.LogCaptureFixture
) -> None:
    image = with_label(tmp_path, sample_spec, "{")
    with caplog.at_level(logging.WARNING):
        assert read_previous(image).layers == ((SCRIPT, LIBC), (APP, LINK))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{image}: the label {PLAN_LABEL} is ignored")


def test_a_label_without_layers_keeps_the_history(tmp_path: Path, sample_spec: Write) -> None:
    label = json.dumps(LABEL | {"layers": [], "steps": 3})
    plan = read_previous(with_label(tmp_path, sample_spec, label))
    assert plan == PreviousPlan(((SCRIPT, LIBC), (APP, LINK)), PlanHistory(steps=3))


RESOLVED: dict[str, Any] = {
    "closure": None,
    "store_layers": [[str(SCRIPT), str(LIBC)], [str(APP), str(LINK)]],
    "history": {"steps": 3, "counts": {"app": {"seen": 3, "changed": 1}}},
}
REMEMBERED = PreviousPlan(
    ((SCRIPT, LIBC), (APP, LINK)), PlanHistory(3, 0, {"app": ChangeCounts(3, 1)})
)


def config_of(layout: Path) -> dict[str, Any]:
    with open_image(layout) as file:
        config: dict[str, Any] = json.loads(file.images[0].config_data)
    return config


def with_memory(source: Path, target: Path, memory: object) -> Path:
    """Copy a docker-archive, with another memory."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))

        def read(name: str) -> bytes:
            stream = old.extractfile(name)
            assert stream is not None
            return stream.read()

        (entry,) = json.loads(read("manifest.json"))
        for name in set(entry["Layers"]):
            add(name, read(name))
        add(
            "config.json",
            json.dumps(json.loads(read(entry["Config"])) | {MEMORY_KEY: memory}).encode(),
        )
        add("manifest.json", json.dumps([entry | {"Config": "config.json"}]).encode())
    return target


@pytest.mark.parametrize("form", Format)
def test_the_memory_is_preferred_to_the_tars(
    tmp_path: Path, sample_spec: Write, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = build(sample_spec(tmp_path, **RESOLVED), form)
    monkeypatch.setattr("nixdock.read.report.inspect_images", None)
    plan = read_previous(image)
    assert plan != REMEMBERED
    assert plan.completed(path for layer in REMEMBERED.layers for path in layer) == REMEMBERED


@pytest.mark.parametrize("key", ["memory", "label"])
def test_an_image_remembers_unless_told_otherwise(
    tmp_path: Path, sample_spec: Write, key: str
) -> None:
    for value, keys in ((True, {MEMORY_KEY}), (False, set())):
        (tmp_path / str(value)).mkdir()
        layering = {"strategy": "stable", key: value}
        layout = build(sample_spec(tmp_path / str(value), layering=layering))
        config = config_of(layout)
        rest = {"architecture", "config", "created", "history", "os", "rootfs"}
        assert config.keys() - rest == keys
        assert "Labels" not in config["config"]


def test_a_memory_of_other_layers_is_ignored(
    tmp_path: Path, sample_spec: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """As that of an image which another tool has built on top."""
    image = build(sample_spec(tmp_path, **RESOLVED), Format.DOCKER_ARCHIVE)
    memory = config_of(image)[MEMORY_KEY] | {"chain_id": f"sha256:{'0' * 64}"}
    other = with_memory(image, tmp_path / "other.tar", memory)
    with caplog.at_level(logging.WARNING):
        assert read_previous(other) == PreviousPlan(((SCRIPT, LIBC), (APP, LINK)))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{other}: {MEMORY_KEY} is ignored")


@pytest.mark.parametrize("value", [0, "", [], {}, {"version": 2}])
def test_a_damaged_memory_is_ignored(
    tmp_path: Path, sample_spec: Write, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    image = build(sample_spec(tmp_path, **RESOLVED), Format.DOCKER_ARCHIVE)
    other = with_memory(image, tmp_path / "other.tar", value)
    with caplog.at_level(logging.WARNING):
        assert read_previous(other) == PreviousPlan(((SCRIPT, LIBC), (APP, LINK)))
    assert len(caplog.records) == 1


def test_a_base_image_gives_no_memory_on(tmp_path: Path, sample_spec: Write) -> None:
    base = build(sample_spec(tmp_path, **RESOLVED))
    child = tmp_path / "child"
    child.mkdir()
    spec = sample_spec(child, closure=None, from_image={"path": str(base)}, inherit_config="all")
    assert MEMORY_KEY in config_of(base)
    assert MEMORY_KEY not in config_of(build(spec))


def test_a_history_that_is_impossible(tmp_path: Path, sample_spec: Write) -> None:
    with pytest.raises(SpecError, match=r"history.app_only: 2 is more than history.steps, 1"):
        build(sample_spec(tmp_path, **RESOLVED | {"history": {"steps": 1, "app_only": 2}}))


def test_a_path_in_two_layers_belongs_to_the_upper_one(tmp_path: Path) -> None:
    layers = [["a", "b"], ["b", "c"], [], ["d"]]
    target = tmp_path / "image.tar"
    with tarfile.open(target, "w") as archive:
        names = []
        for number, layer in enumerate(layers):
            tar = tmp_path / f"{number}.tar"
            with tarfile.open(tar, "w") as inner:
                for name in layer:
                    inner.addfile(tarfile.TarInfo(str(store_path(name))))
                # This name only looks like a store path.
                if layer:
                    inner.addfile(tarfile.TarInfo(f"nix/store/{'a' * 32}-.."))
            names.append(tar)
            archive.add(tar, tar.name)

        config = {
            "rootfs": {
                "type": "layers",
                "diff_ids": [
                    f"sha256:{hashlib.sha256(tar.read_bytes()).hexdigest()}" for tar in names
                ],
            }
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        manifest = [{"Config": "config.json", "Layers": [tar.name for tar in names]}]
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        for name in ("config.json", "manifest.json"):
            archive.add(tmp_path / name, name)
    plan = read_previous(target)
    assert [[path.name for path in layer] for layer in plan.layers] == [["a"], ["b", "c"], ["d"]]


def test_files_that_are_neither_a_plan_nor_an_image(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(InputError, match=r"can't read the previous plan"):
        read_previous(file)
    file.write_bytes(b"")
    with pytest.raises((InputError, ImageError)):
        read_previous(file)
    file.write_bytes(b"hello" * 1000)
    with pytest.raises((InputError, ImageError)):
        read_previous(file)
    with pytest.raises(InputError, match="is not an image"):
        read_previous(tmp_path)
    file.write_text(" {")
    with pytest.raises(InputError, match=f"^{file} is not valid JSON"):
        read_previous(file)
    file.write_text("[]")
    with pytest.raises(InputError, match=f"^{file} is not a plan"):
        read_previous(file)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"version": 1, "layers": []}', None),
        (b"\n", "it is empty: the program that writes it may have failed"),
        (b"PK", "an image must be in a file, not in a pipe"),
    ],
)
def test_what_a_pipe_may_have(tmp_path: Path, data: bytes, error: str | None) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[data])
    writer.start()
    if error is None:
        assert list(read_previous(pipe).layers) == []
    else:
        with pytest.raises(InputError, match=f"can't read the previous plan {pipe}: {error}"):
            read_previous(pipe)
    writer.join()


def test_several_images_are_refused(tmp_path: Path, sample_spec: Write) -> None:
    layout = build(sample_spec(tmp_path))
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = []
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="contains 0 images; specify a file with a single image"):
        read_previous(layout)


@pytest.mark.parametrize("changes", [{"closure": None}, {"single_layer": True}, {}])
def test_a_missing_previous_image_is_an_error_without_use_for_it(
    tmp_path: Path, sample_spec: Write, changes: dict[str, object]
) -> None:
    for previous in ("nope.tar", ["nope.json"], "oci:nope:v1"):
        layering = {"previous": previous}
        spec = sample_spec(tmp_path, contents=[], layering=layering, **changes)
        with pytest.raises(
            InputError, match=r"can't read the previous plan .*nope.*: No such file"
        ):
            nixdock.build_image(nixdock.read_spec(spec), tmp_path / "x")
