"""Trees as deep as Linux allows: one limit, PATH_MAX, in building and reading."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nixdock.build.build import prepared_build
from nixdock.errors import PackError
from nixdock.face.images import verify_image
from nixdock.layers.compression import Compression
from nixdock.oci.layout import Format
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.rootfs.copied_contents import copy_contents
from nixdock.rootfs.linked_contents import link_contents
from nixdock.rootfs.underlay import Underlay
from nixdock.spec.reading import read_spec
from nixdock.system.scratch import temporary_directory
from nixdock.write.image import write_image
from tests.unit.docker_archive import archive, directory, layer, link

pytestmark = pytest.mark.slow

DEPTH = 1100
DEEP = "/".join("d" * DEPTH)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of temporary files: in memory, where directories are removed much faster."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def make_deep(top: Path, depth: int, name: str = "d") -> None:
    """Make directories in each other below `top`, whose path may be too long for the kernel."""
    top.mkdir()
    (top / "file").write_text("shallow")
    current = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=current)
        below = os.open(name, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=current))
    os.close(current)


@contextmanager
def deep_content(depth: int = DEPTH) -> Iterator[tuple[str, Path]]:
    """A deep tree, and a directory to join it in."""
    with temporary_directory() as parent:
        make_deep(parent / "c", depth)
        (parent / "t").mkdir()
        yield str(parent / "c"), parent / "t"


@pytest.mark.parametrize("join", [link_contents, copy_contents])
def test_deep_contents(join: Any) -> None:
    with deep_content() as (content, tree):
        join([content], tree)
        assert os.path.lexists(tree / DEEP / "file")


@pytest.mark.parametrize("join", [link_contents, copy_contents])
def test_deep_contents_over_a_base_image(tmp_path: Path, join: Any) -> None:
    """The time must not be that of the third power of the depth."""
    members = layer(directory("usr"), link("d", "usr"), (f"usr/{DEEP[:2000]}/x", ""))
    with (
        open_image(archive(tmp_path / "base.tar", [members])) as image,
        merged_tree(image.images[0].layers) as base,
        deep_content() as (content, tree),
    ):
        join([content], tree, underlay=Underlay(base))
        assert os.path.lexists(tree / "usr" / DEEP[2:] / "file")
        assert not (tree / "d").exists()


def built(tmp_path: Path, **changes: object) -> Path:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"version": 1, "name": "x", **changes}))
    target = tmp_path / "image.tar"
    with prepared_build(read_spec(spec)) as build:
        write_image(build, target, Format.ARCHIVE, Compression.NONE)
    return target


def deeper(depth: int) -> str:
    return f'perl -e \'for (1..{depth}) {{ mkdir "d"; chdir "d" or die }}\''


def test_what_is_built_is_verified_and_built_upon(tmp_path: Path) -> None:
    image = built(tmp_path, extra_commands=deeper(1000))
    assert verify_image(image).problems == ()
    (tmp_path / "base.tar").write_bytes(image.read_bytes())
    built(tmp_path, extra_commands=deeper(1100), from_image={"path": "base.tar"})


@pytest.mark.parametrize("key", ["extra_commands", "fake_root_commands"])
def test_a_path_that_is_too_long(tmp_path: Path, temporary: Path, key: str) -> None:
    with pytest.raises(PackError, match="File name too long"):
        built(tmp_path, **{key: deeper(2100)})
    assert list(temporary.iterdir()) == []


def test_a_temporary_tree_is_removed(tmp_path: Path) -> None:
    with temporary_directory() as parent:
        make_deep(parent / "deep", 1100, "directory")
        (parent / "closed/inner").mkdir(parents=True)
        (parent / "link").symlink_to(tmp_path)
        (parent / "closed/inner").chmod(0)
        (parent / "closed").chmod(0)
        (tmp_path / "kept").touch()
    assert not parent.exists()
    assert (tmp_path / "kept").exists()
