"""Which of several images is used: the rules are the same for nested and flat indexes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.build.previous import read_previous
from nixdock.errors import InputError
from nixdock.oci.descriptor import Platform
from nixdock.oci.location import FileLocation
from nixdock.oci.platforms import parse_platform, platform_text
from nixdock.read.opening import open_image
from nixdock.read.selection import select_image, select_only_image
from nixdock.rootfs.base_image import open_base_image
from tests.unit.docker_archive import archive, layer

OCI = "application/vnd.oci.image"
WINDOWS = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"}
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}
ARM6 = {"os": "linux", "architecture": "arm", "variant": "v6"}
ARM7 = {"os": "linux", "architecture": "arm", "variant": "v7"}


def layout(path: Path, platforms: Sequence[dict[str, str]], *, nested: bool) -> Path:
    """Write a layout with an image for each platform, which only the index states in full."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"{OCI}.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        } | more

    manifests = []
    for i, platform in enumerate(platforms):
        tar = layer(("number", str(i)))
        diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        config = {
            "author": str(i),
            "os": platform["os"],
            "architecture": platform["architecture"],
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": blob("config.v1+json", json.dumps(config).encode()),
            "layers": [blob("layer.v1.tar", tar)],
        }
        data = json.dumps(manifest).encode()
        manifests.append(blob("manifest.v1+json", data, platform=platform))
    if nested:
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
        manifests = [blob("index.v1+json", json.dumps(index).encode())]
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


Layout = Callable[..., Path]


@pytest.fixture(params=[True, False], ids=["nested", "flat"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    def write(*platforms: dict[str, str]) -> Path:
        return layout(tmp_path / "layout", platforms, nested=request.param)

    return write


def chosen(path: Path, platform: str | None) -> str | None:
    with open_image(path) as file:
        wanted = None if platform is None else parse_platform(platform)
        return select_image(file, platform=wanted).config.author


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        (None, "1"),
        ("linux/amd64", "1"),
        ("windows/amd64", "0"),
        ("windows(10.0.20348)/amd64", "0"),
        ("linux/arm64", "2"),
        ("linux/arm64/v8", "2"),
        ("linux/arm", "4"),
        ("linux/arm/v7", "4"),
        ("linux/arm/v6", "3"),
    ],
)
def test_the_index_says_what_an_image_is_for(
    several: Layout, platform: str | None, expected: str
) -> None:
    assert chosen(several(WINDOWS, AMD64, ARM64, ARM6, ARM7), platform) == expected


@pytest.mark.parametrize(
    "platform",
    ["linux/riscv64", "linux/arm/v5", "linux/amd64/v3", "windows(10.0.1)/amd64", "windows/arm64"],
)
def test_the_error_lists_the_platforms(several: Layout, platform: str) -> None:
    path = several(WINDOWS, AMD64, ARM7)
    with pytest.raises(InputError) as error:
        chosen(path, platform)
    assert str(error.value) == (
        f"{path} has no image for {platform}; it has images for windows(10.0.20348.1)/amd64,"
        " linux/amd64, linux/arm/v7: choose one of these platforms"
    )


def test_one_platform_needs_no_choice(several: Layout) -> None:
    path = several(ARM64)
    assert chosen(path, None) == "0"
    with pytest.raises(InputError, match="has no image for linux/amd64"):
        chosen(path, "linux/amd64")


def test_an_image_for_no_platform_is_for_all(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", [layer(("a", ""))], os="", architecture="", author="x")
    assert chosen(path, "linux/arm64") == "x"


def test_every_command_chooses_alike(several: Layout, tmp_path: Path) -> None:
    path = several(WINDOWS, ARM64, AMD64)
    with open_base_image(FileLocation(path), None, None, Platform()) as base:
        assert base.platform == Platform()
    with open_base_image(FileLocation(path), None, None, Platform("arm64")) as base:
        assert base.platform == Platform("arm64", variant="v8")
    with open_image(path) as file:
        assert select_only_image(file).config.author == "2"
        assert select_only_image(file, Platform("arm64")).config.author == "1"
    location = FileLocation(path)
    assert read_previous(location).layers == ()
    assert read_previous(location, Platform("arm64")).layers == ()
    tar: list[bytes] = []
    nixdock.export_image(path, lambda data: tar.append(bytes(data)))
    assert b"2" in b"".join(tar).split(b"\0")
    tar.clear()
    nixdock.export_image(path, lambda data: tar.append(bytes(data)), platform="linux/arm64")
    assert b"1" in b"".join(tar).split(b"\0")
    one = nixdock.diff_images(path, path, platform="linux/arm64")
    other = nixdock.diff_images(path, path)
    assert one.document()["old"]["digest"] != other.document()["old"]["digest"]
    for refused in (
        lambda: nixdock.diff_images(path, path, platform="linux/riscv64"),
        lambda: nixdock.export_image(path, lambda _: None, platform="linux/riscv64"),
        lambda: read_previous(location, Platform("riscv64")),
    ):
        with pytest.raises(InputError, match="has no image for linux/riscv64; it has images for"):
            refused()


def test_an_architecture_that_a_single_image_is_not_for(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", [layer(("a", ""))])
    with pytest.raises(InputError, match="has no image for linux/arm64; it has images for linux/a"):
        nixdock.diff_images(path, path, platform="linux/arm64")


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7", "windows(10.0.1)/amd64"])
def test_platforms_as_text(text: str) -> None:
    assert platform_text(parse_platform(text)) == text


@pytest.mark.parametrize("text", ["", "linux", "/amd64", "linux/", "a/b/c/d", "linux/amd64\n"])
def test_text_that_is_no_platform(text: str) -> None:
    with pytest.raises(InputError, match="is not a platform: expected OS/ARCHITECTURE"):
        parse_platform(text)
