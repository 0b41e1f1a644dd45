"""Images that have derivations: they have what these refer to, but not the outputs.

Nix adds the outputs of every derivation in a closure to the exported reference graph, although
nothing refers to them, and leaves them out of the build's sandbox.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock import inspect_image

from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

CONTENT = '(pkgs.writeTextDir "share/x" pkgs.hello.drvPath)'


def store_paths(image: Path) -> set[str]:
    (report,) = inspect_image(image).images
    return {path for layer in report.layers for path in layer.store_paths}


@pytest.fixture(scope="module")
def closure(library: Library) -> set[str]:
    """The closure of the file that names a derivation."""
    return set(map(str, library.closure_of(f"[ {CONTENT} ]")))


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("buildLayeredImage", f"contents = [ {CONTENT} ];"),
        ("buildLayeredImageWithNixDb", f"contents = [ {CONTENT} ];"),
        ("buildImage", f'extraCommands = "ln -s ${{{CONTENT}}} x";'),
        ("buildImageWithNixDb", f'config.Labels.x = "${{{CONTENT}}}";'),
    ],
)
def test_the_closure_is_that_of_the_contents(
    library: Library, closure: set[str], builder: str, arguments: str
) -> None:
    assert any(path.endswith(".drv") for path in closure)
    built = library.build(f'nixdock.{builder} {{ name = "x"; tag = "t"; {arguments} }}')
    assert store_paths(built) == closure


def test_a_database_that_scripts_find(library: Library, closure: set[str]) -> None:
    """It names the outputs, so Nix finds references to those that the build itself needs."""
    built = library.build(
        f"""nixdock.buildLayeredImageWithNixDb {{
          name = "x"; tag = "t"; contents = [ {CONTENT} ];
          extraCommands = "test -e nix/var/nix/db/db.sqlite"; }}"""
    )
    more = store_paths(built) - closure
    assert len(store_paths(built)) == len(closure) + len(more)
    assert not any("hello" in path for path in more)


def test_outputs_that_a_file_names_are_in_the_image(library: Library) -> None:
    """All that the derivation needs to be built again, because the file refers to it."""
    everything = "(pkgs.writeClosure [ pkgs.hello.drvPath ])"
    built = library.build(
        f"""nixdock.buildLayeredImage {{
          name = "x"; tag = "t"; extraCommands = "ln -s ${{{everything}}} x"; }}"""
    )
    closure = set(map(str, library.closure_of(f"[ {everything} ]")))
    assert any("hello" in path and not path.endswith(".drv") for path in closure)
    assert store_paths(built) == closure


def test_a_family_of_images_with_derivations(library: Library, closure: set[str]) -> None:
    built = library.build(
        f"""nixdock.buildLayeredImage (nixdock.planFamily {{
          x = {{ name = "x"; tag = "t"; contents = [ {CONTENT} ]; }};
          y = {{ name = "y"; tag = "t"; contents = [ pkgs.hello ]; }};
        }}).x"""
    )
    assert store_paths(built) == closure
