"""The files of one layer are the same wherever the image is, and nothing else is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import nixdock
from nixdock import ImageError, InputError
from tests.unit.registry.fake_registry import fake_registry

LIBC = f"/nix/store/{'a' * 32}-libc"


@pytest.fixture
def spec(tmp_path: Path, sample_spec: Callable[..., Path]) -> Path:
    return sample_spec(tmp_path)


def titled(place: Path, title: str) -> int:
    """Return the number of the layer with a title."""
    view = nixdock.view_image(place)
    return next(layer.number for layer in view.layers if layer.title == title)


@pytest.mark.parametrize("form", ["archive", "docker-archive", "oci-layout"])
def test_a_spec_and_its_image_agree(spec: Path, tmp_path: Path, form: str) -> None:
    image = tmp_path / "image"
    nixdock.build_image(nixdock.read_spec(spec), image, form=form, compression="gzip")
    whole = nixdock.view_image(image, with_files=True)
    for layer in whole.layers:
        assert layer.files
        assert nixdock.layer_files(image, layer.number) == layer.files
        assert nixdock.layer_files(spec, layer.number) == layer.files
    libc = nixdock.layer_files(image, titled(image, "libc"))
    assert [file.path for file in libc if file.kind == "symbolic link"] == [f"{LIBC}/lib/libc.so"]


@pytest.mark.parametrize("number", [0, 99])
def test_there_is_no_such_layer(spec: Path, tmp_path: Path, number: int) -> None:
    image = tmp_path / "image.tar"
    nixdock.build_image(nixdock.read_spec(spec), image)
    for source in (image, spec):
        with pytest.raises(InputError, match=f"has no layer {number}"):
            nixdock.layer_files(source, number)


def test_a_graph_has_no_files(spec: Path) -> None:
    with pytest.raises(InputError, match="a plan has no files"):
        nixdock.layer_files(spec.with_name("graph.json"), 1)


def test_a_damaged_layer(spec: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    nixdock.build_image(nixdock.read_spec(spec), layout, form="oci-layout")
    number = titled(layout, "libc")
    layer = nixdock.view_image(layout).layers[number - 1]
    assert layer.digest is not None
    blob = layout / "blobs/sha256" / layer.digest.removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    with pytest.raises(ImageError):
        nixdock.layer_files(layout, number)
    assert nixdock.layer_files(layout, number % 2 + 1)


def test_of_a_registry_only_that_layer_is_fetched(spec: Path) -> None:
    with fake_registry() as registry:
        place = f"docker://{registry.host}/some/image:v1"
        nixdock.push_image(nixdock.read_spec(spec), [place.removeprefix("docker://")])
        view = nixdock.view_image(place)
        before = len(registry.requests("GET"))
        assert nixdock.layer_files(place, 1)
        asked = " ".join(each.path for each in registry.requests("GET")[before:])
        assert {layer.digest for layer in view.layers if str(layer.digest) in asked} == {
            view.layers[0].digest
        }
