"""Reading the previous plan from a plan file, a label, or the tars of any image."""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nixdock.build import previous
from nixdock.build.previous import read_previous
from nixdock.cli import main
from nixdock.errors import ImageError, InputError
from nixdock.layering import LayerPlan
from nixdock.layering.plan_file import plan_document
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.plan_label import PLAN_LABEL, plan_label
from nixdock.layers.compressors import Compression
from nixdock.nix.store_path import StorePath
from nixdock.oci.layout import Format
from tests.unit.closures import closure_of, edges, store_path

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


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("compression", Compression)
def test_an_image_in_every_form(
    tmp_path: Path, sample_spec: Write, form: Format, compression: Compression
) -> None:
    plan = read_previous(build(sample_spec(tmp_path), form, compression.value))
    assert sorted(plan.layers) == [(LIBC,), (SCRIPT,), (LINK,), (APP,)]


def test_paths_are_in_the_order_of_the_tar(tmp_path: Path, sample_spec: Write) -> None:
    file = sample_spec(
        tmp_path,
        closure=None,
        store_layers=[[str(SCRIPT), str(LIBC)], [str(APP), str(LINK)]],
    )
    assert read_previous(build(file)).layers == ((SCRIPT, LIBC), (APP, LINK))


def with_label(directory: Path, sample_spec: Write, label: object) -> Path:
    """Build an image of two layers without a plan of its own, and with `label`."""
    return build(
        sample_spec(
            directory,
            closure=None,
            store_layers=[[str(SCRIPT), str(LIBC)], [str(APP), str(LINK)]],
            config={"Labels": {PLAN_LABEL: label}},
        )
    )


def test_the_label_is_preferred_to_the_tars(tmp_path: Path, sample_spec: Write) -> None:
    label = plan_label(small_plan())
    assert label is not None
    plan = read_previous(with_label(tmp_path, sample_spec, label))
    assert plan.layers == tuple(layer.paths for layer in small_plan().layers)


def test_a_damaged_label_is_a_warning(
    tmp_path: Path, sample_spec: Write, caplog: pytest.LogCaptureFixture
) -> None:
    image = with_label(tmp_path, sample_spec, "{")
    with caplog.at_level(logging.WARNING):
        assert read_previous(image).layers == ((SCRIPT, LIBC), (APP, LINK))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{image}: the label {PLAN_LABEL} is ignored")


def test_a_label_without_layers_keeps_the_history(
    tmp_path: Path, sample_spec: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = with_label(tmp_path, sample_spec, "counters")
    history = PlanHistory(steps=3)
    monkeypatch.setattr(previous, "parse_plan_label", lambda _text: PreviousPlan((), history))
    plan = read_previous(image)
    assert plan == PreviousPlan(((SCRIPT, LIBC), (APP, LINK)), history)


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
    with pytest.raises(InputError, match="can't read the previous plan"):
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


def test_several_images_are_refused(tmp_path: Path, sample_spec: Write) -> None:
    layout = build(sample_spec(tmp_path))
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = []
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="contains 0 images; specify a file with a single image"):
        read_previous(layout)
