"""The expressions in the how-to guides build images that have what they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nixdock.face.images import inspect_image, verify_image

from ..unit.code_blocks import Block, blocks
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

GUIDES = sorted((LIBRARY.parent / "docs/how-to").glob("*.md"))
# The package set has no cross compiler; and where there are dots, a hash is left out.
MISSING = ("pkgsCross", "…")
COMPLETE = [
    block
    for block in blocks(GUIDES)
    if block.text.startswith("pkgs.nixdock.") and not any(each in block.text for each in MISSING)
]


@pytest.fixture(scope="module")
def images(library: Library) -> dict[str, Path]:
    """Return the image of each block by the block's name, all built at once."""
    links = "".join(f'"{block}" = {block.text};\n' for block in COMPLETE)
    built = library.nix.build(
        f"(let set = pkgs; in let pkgs = set.extend (import {LIBRARY}/overlay.nix); in"
        f' pkgs.linkFarm "guides" {{ {links} }})'
    )
    return {str(block): (built / str(block)).resolve() for block in COMPLETE}


@pytest.mark.parametrize("block", COMPLETE, ids=str)
def test_an_expression_builds_a_whole_image(block: Block, images: dict[str, Path]) -> None:
    file = images[str(block)]
    assert verify_image(file).problems == ()
    (image,) = inspect_image(file).images
    inside = {path for layer in image.layers for path in layer.store_paths}
    named = re.findall(r"/nix/store/[\w.+-]+", str(image.config))
    assert {path for path in named if path not in inside} == set()
    for path in re.findall(r"=(/nix/store/[^':]+)", str(image.config)):
        assert Path(path).exists(), path


def test_there_are_expressions_to_build() -> None:
    assert len(COMPLETE) >= 7
