"""Whatever is wrong inside an image, the error names its location, once, apart from the place."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

import nixdock
from tests.unit.docker_archive import archive, layer

TOO_LONG = f"Package: dash\nStatus: install ok installed\nVersion: {'1' * (1 << 21)}\n"


def error_of(image: Path, read: Callable[[Path], object]) -> nixdock.ImageError:
    with pytest.raises(nixdock.ImageError) as caught:
        read(image)
    message = str(caught.value)
    assert message.startswith(f"{image}: ")
    assert message.count(str(image)) == 1
    return caught.value


@pytest.mark.parametrize("read", [nixdock.inspect_image, nixdock.list_packages])
def test_a_blob(tmp_path: Path, read: Callable[[Path], object]) -> None:
    image = archive(tmp_path / "image.tar", [layer(("a", "one"))])
    image.write_bytes(image.read_bytes().replace(b"one", b"eno"))
    error = error_of(image, read)
    assert "Layers[0] is damaged" in str(error)
    assert (error.path, error.place) == (str(image), "manifest.json[0]: Layers[0]")


@pytest.mark.parametrize("read", [nixdock.inspect_image, nixdock.list_packages])
def test_compressed_data(tmp_path: Path, read: Callable[[Path], object]) -> None:
    image = archive(tmp_path / "image.tar", [gzip.compress(layer(("a", "one")))[:-9]])
    error = error_of(image, read)
    assert "the gzip data" in str(error)
    assert (error.path, error.place) == (str(image), "manifest.json[0]: Layers[0]")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("../x", "", "Layers[0]: a member has an invalid name"),
        ("var/lib/dpkg/status", TOO_LONG, "is damaged"),
    ],
)
def test_what_a_bill_of_materials_is_made_from(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    image = archive(tmp_path / "image.tar", [layer(("nix/x", ""), (name, content))])
    assert problem in str(error_of(image, nixdock.list_packages))
