"""Images of store paths whose names only their builds tell, and what evaluation says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nixdock import inspect_image

from ..nix.harness import NixError
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

FEATURE = ("--option", "experimental-features", "nix-command flakes ca-derivations")

# A derivation whose output is content-addressed, and names another store path.
PROGRAM = """pkgs.runCommand "program" {
    __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
  } "mkdir -p $out/bin; echo ${pkgs.hello} > $out/bin/program" """


def in_scope(library: Library, expression: str) -> str:
    """Return an expression in which `program` is such a derivation."""
    pkgs = f"pkgs = import {library.nix.pkgs} {{ }}; nixdock = import {LIBRARY} pkgs;"
    return f"let {pkgs} program = {PROGRAM}; in {expression}"


def evaluate(library: Library, expression: str) -> object:
    options = (*FEATURE, "--eval", "--strict", "--json", "--read-write-mode")
    text = in_scope(library, expression)
    return json.loads(library.nix.run("nix-instantiate", *options, "-E", text))


def build(library: Library, expression: str) -> Path:
    text = in_scope(library, expression)
    return Path(library.nix.run("nix-build", "--no-out-link", *FEATURE, "-E", text).strip())


@pytest.mark.parametrize(
    "image",
    [
        'nixdock.buildLayeredImage { name = "x"; contents = [ program ]; }',
        'nixdock.buildImage { name = "x"; config.Cmd = [ "${program}/bin/program" ]; }',
        """nixdock.buildIndex {
             name = "x"; images = [
               (nixdock.streamLayeredImage { name = "y"; contents = program; }) ]; }""",
    ],
    ids=["layered", "single", "index"],
)
def test_the_tag_of_the_attribute_is_that_of_the_image(library: Library, image: str) -> None:
    """Although the output's own hash is only known when it is built."""
    tag = evaluate(library, f"({image}).imageTag")
    assert isinstance(tag, str)
    assert len(tag) == 32
    (shown,) = inspect_image(build(library, image)).images
    assert shown.tags == (f"x:{tag}",)
    other = image.replace("[ program ]", "[ program pkgs.busybox ]").replace("Cmd", "Entrypoint")
    if other != image:
        assert evaluate(library, f"({other}).imageTag") != tag


def test_the_image_has_what_they_refer_to(library: Library) -> None:
    image = build(library, 'nixdock.buildLayeredImage { name = "x"; contents = program; }')
    (shown,) = inspect_image(image).images
    names = {path.split("-", 1)[1] for layer in shown.layers for path in layer.store_paths}
    assert "program" in names
    assert any(name.startswith("hello-") for name in names)


@pytest.mark.parametrize(
    "arguments",
    [
        "contents = [ program ];",
        'config.Env = [ "PATH=/bin:${program}/bin" ];',
        'labels.file = "file://${program}/bin/program";',
        'extraCommands = "true\\n${program}/bin/program\\n";',
    ],
)
def test_their_names_are_not_known_before_they_are_built(library: Library, arguments: str) -> None:
    """So that a spec of names alone, without builds, can't have them."""
    image = f'nixdock.streamLayeredImage {{ name = "x"; {arguments} }}'
    with pytest.raises(NixError, match=r"image x: remote names store paths before they are built"):
        evaluate(library, f"({image}).remote")


def test_hashes_in_addresses_are_no_such_names(library: Library) -> None:
    """Files in binary caches have hashes of the same form."""
    address = f"https://cache.example/nar/{'0' * 52}.nar.xz"
    image = f"""nixdock.streamLayeredImage {{
      name = "x"; contents = [ pkgs.hello ]; config.Env = [ "NAR={address}" ]; }}"""
    assert evaluate(library, f"({image}).remote.config.Env") == [f"NAR={address}"]
