"""What dockerTools' own tests check of layers, in real Docker, by its numbers."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.unit.docker_archive import archive, layer

from ..runtime.engine import Docker, Podman
from .conftest import Library
from .examples import Examples

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("checks")]

GREETING = "Hello, world!"


@pytest.fixture(scope="module")
def examples(library: Library, docker: Docker) -> Examples:
    """The examples."""
    return Examples.of(library, docker)


def diff_ids(examples: Examples, name: str) -> list[str]:
    found: list[str] = examples.config(name)["RootFS"]["Layers"]
    return found


def test_28_a_layered_image_runs(examples: Examples) -> None:
    assert examples.run("layered-image") == GREETING
    assert examples.run("layered-image", "cat", "/extraCommands") == "layered"


@pytest.mark.parametrize("name", ["layered-on-top", "layered-on-top-layered"], ids=["29", "30"])
def test_on_top_of_a_layered_image(examples: Examples, name: str) -> None:
    assert examples.run(name) == "hello"
    assert examples.run(name, "/bin/hello") == GREETING
    base = diff_ids(examples, "layered-image")
    above = diff_ids(examples, name)
    assert above[: len(base)] == base
    assert len(above) == len(base) + 1, "all store paths are in the base"


def test_31_images_share_layers(examples: Examples) -> None:
    one, other = (diff_ids(examples, n) for n in ("layered-image", "another-layered-image"))
    assert len(set(one) & set(other)) > 1


def test_32_upper_layers_win(examples: Examples) -> None:
    for number in (1, 2, 3):
        found = examples.run("layersOrder", "cat", f"/tmp/layer{number}")
        assert found == f"layer{number}"


def test_33_scripts_see_the_layers_below(examples: Examples) -> None:
    assert examples.run("layersUnpackOrder", "cat", "/layer-order") == "abc"


def test_34_a_base_that_has_a_layer_twice(
    library: Library, docker: Docker, podman: Podman, tmp_path: Path
) -> None:
    """As old versions of Docker wrote it: the second one is a link to the first one's tar."""
    same = layer(("same", "x"))
    whole = archive(tmp_path / "whole.tar", [same, layer(("other", "y")), same])
    linked = tmp_path / "linked.tar"
    with tarfile.open(whole) as old, tarfile.open(linked, "w") as new:
        for member in old:
            if member.name == "2/layer.tar":
                link = tarfile.TarInfo(member.name)
                link.type, link.linkname = tarfile.SYMTYPE, "../0/layer.tar"
                new.addfile(link)
            else:
                new.addfile(member, old.extractfile(member))
    image = library.build(
        f"""nixdock.buildImage {{
          name = "repeated"; tag = "t"; copyToRoot = [ pkgs.busybox ]; compressor = "none";
          fromImage = builtins.path {{ path = {json.dumps(str(linked))}; name = "base.tar"; }};
          runAsRoot = "cat /same /other > /both";
        }}"""
    )
    for engine in (docker, podman):
        assert engine.run(engine.load(image), "/bin/busybox", "cat", "/both").stdout == "xy"


def test_38_two_layers(examples: Examples) -> None:
    assert examples.run("two-layered-image") == GREETING
    assert len(diff_ids(examples, "two-layered-image")) == 2


def test_39_more_packages_than_layers(examples: Examples) -> None:
    assert examples.run("bulk-layer", "ls", "/bin/hello") == "/bin/hello"
    assert examples.run("bulk-layer", "/bin/hello") == GREETING
    assert len(diff_ids(examples, "bulk-layer")) == 2


def test_40_more_packages_than_layers_above_a_base(examples: Examples) -> None:
    assert examples.run("layered-bulk-layer", "ls", "/bin/hello") == "/bin/hello"
    assert examples.run("layered-bulk-layer", "/bin/hello") == GREETING
    assert len(diff_ids(examples, "layered-bulk-layer")) == 4


def test_41_no_store_path_but_the_one_that_is_named(examples: Examples) -> None:
    busybox = examples.nixdock.build("pkgs.busybox")
    assert examples.run("no-store-paths").splitlines() == [busybox.name]
    assert examples.run("no-store-paths", "sh", "-c", "echo hello") == "hello"


def test_44_a_store_path_that_is_a_link_stays_one(examples: Examples) -> None:
    symlink, target = (
        examples.nixdock.build(f"nixdock.examples.layeredStoreSymlink.passthru.{name}")
        for name in ("symlink", "target")
    )
    assert examples.run("layeredStoreSymlink", "readlink", str(symlink)) == str(target)
    assert "behind a link" in examples.run("layeredStoreSymlink", "cat", "/dir/target")
