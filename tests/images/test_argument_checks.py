"""Arguments that the Nix library refuses at evaluation, before anything is built."""

from __future__ import annotations

import re

import pytest

from ..nix.harness import NixError
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

BUILDERS = ["buildImage", "buildLayeredImage", "streamLayeredImage"]


def refusal(library: Library, expression: str) -> str:
    """Return the message of the error that evaluating a derivation ends in."""
    with pytest.raises(NixError) as caught:
        library.evaluate(f"({expression}).drvPath")
    (found,) = re.findall("nixdock.*", str(caught.value).rpartition("error: ")[2])[:1]
    return str(found)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            'name = "Foo Bar";',
            (
                'nixdock: "Foo Bar" is not the name of an image: expected'
                " [HOST[:PORT]/]NAME[/NAME...],"
                " where each NAME is letters and digits, joined by '.', '_', '__' or dashes"
            ),
        ),
        (
            'name = "ubuntu:22.04";',
            (
                'nixdock: "ubuntu:22.04" is not the name of an image: expected'
                " [HOST[:PORT]/]NAME[/NAME...], where each NAME is letters and digits, joined by"
                " '.',"
                " '_', '__' or dashes; give the tag as the argument tag"
            ),
        ),
        (
            'name = "x"; tag = "y:1";',
            (
                'nixdock: image x: "y:1" is not a tag: expected at most 128 letters, digits,'
                " '_', '.' and '-', without '.' or '-' at the start"
            ),
        ),
        (
            'name = "x"; architecture = "x86_64";',
            (
                'nixdock: image x: architecture must be one of Go\'s names, not "x86_64": write'
                ' architecture = "amd64"'
            ),
        ),
        (
            'name = "x"; architecture = "armv7l";',
            (
                'nixdock: image x: architecture must be one of Go\'s names, not "armv7l": write'
                ' architecture = "arm" and variant = "v7"'
            ),
        ),
        (
            'name = "x"; architecture = [ "arm64" ];',
            (
                'nixdock: image x: architecture must be one of Go\'s names, not ["arm64"]: 386,'
                " amd64,"
                " arm, arm64, loong64, mips, mips64, mips64le, mipsle, ppc64, ppc64le, riscv64,"
                " s390x,"
                " wasm"
            ),
        ),
        (
            'name = "x"; config.Cmd = "nginx  -g daemon";',
            (
                "nixdock: image x: config.Cmd is one string with spaces, which no shell splits;"
                " write a"
                ' list of arguments: [ "nginx" "-g" "daemon" ]'
            ),
        ),
        (
            'name = "x"; config.entrypoint = "sh -c";',
            (
                "nixdock: image x: config.entrypoint is one string with spaces, which no shell"
                " splits;"
                ' write a list of arguments: [ "sh" "-c" ]'
            ),
        ),
        (
            'name = "x"; fromImage = "ubuntu:22.04";',
            (
                'nixdock: image x: fromImage is a file, not a reference such as "ubuntu:22.04"; use'
                " pullImage to fetch an image from a registry"
            ),
        ),
        (
            'name = "x"; fromImage = nixdock.streamLayeredImage { name = "y"; };',
            (
                "nixdock: image x: fromImage is the stream script stream-y, not an image; use"
                " buildLayeredImage instead of streamLayeredImage"
            ),
        ),
    ],
)
def test_images(library: Library, builder: str, arguments: str, message: str) -> None:
    assert refusal(library, f"nixdock.{builder} {{ {arguments} }}") == message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "nixdock.mergeImages [ STREAM ]",
            (
                "nixdock.mergeImages: an image of the list is the stream script stream-x, not an"
                " image;"
                " use buildLayeredImage instead of streamLayeredImage"
            ),
        ),
        (
            'nixdock.mergeImages [ "ubuntu:22.04" ]',
            (
                "nixdock.mergeImages: an image of the list is a file, not a reference such as"
                ' "ubuntu:22.04"; use pullImage to fetch an image from a registry'
            ),
        ),
        (
            "nixdock.mergeImages [ ]",
            "nixdock.mergeImages: the list is empty; give at least one image",
        ),
        (
            "nixdock.exportImage { fromImage = STREAM; }",
            (
                "nixdock.exportImage: fromImage is the stream script stream-x, not an image; use"
                " buildLayeredImage instead of streamLayeredImage"
            ),
        ),
        (
            'nixdock.exportImage { fromImage = "ubuntu"; }',
            (
                'nixdock.exportImage: fromImage is a file, not a reference such as "ubuntu"; use'
                " pullImage to fetch an image from a registry"
            ),
        ),
    ],
)
def test_images_in_files(library: Library, expression: str, message: str) -> None:
    stream = '(nixdock.streamLayeredImage { name = "x"; })'
    assert refusal(library, expression.replace("STREAM", stream)) == message


@pytest.mark.parametrize(
    "arguments",
    [
        'name = "Registry.Example:5000/Some/a__b-c.d"; architecture = "riscv64";',
        'name = "localhost/x"; config.Cmd = "bash"; config.Entrypoint = [ "a b" ];',
        'name = "builder:5000/x"; fromImage = /images/base.tar;',
        'name = "x"; fromImage = "/images/base.tar"; config = null;',
    ],
)
def test_accepted(library: Library, arguments: str) -> None:
    fixed = arguments.replace("/images/base.tar", str(LIBRARY / "default.nix"))
    for builder in BUILDERS:
        assert library.evaluate(f"(nixdock.{builder} {{ {fixed} }}).drvPath")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            'tools.buildImage { name = "x"; runAsRoot = "true"; }',
            (
                "nixdock: image x: runAsRoot needs Linux, because it enters a namespace; use perms"
                " or"
                " extraCommands"
            ),
        ),
        (
            (
                'tools.buildLayeredImage { name = "x"; fakeRootCommands = "true";'
                " enableFakechroot = true; }"
            ),
            (
                "nixdock: image x: enableFakechroot needs Linux, because it enters a namespace; use"
                " perms, or fakeRootCommands with relative paths"
            ),
        ),
    ],
)
def test_namespaces_need_linux(library: Library, expression: str, message: str) -> None:
    """On the machine that builds, whatever machine the image is for."""
    mac = f"""let
        stdenv = pkgs.stdenv // {{
          buildPlatform = pkgs.stdenv.buildPlatform // {{ isLinux = false; }}; }};
        tools = import {LIBRARY} {{ pkgs = pkgs // {{ inherit stdenv; }}; }};
      in {expression}"""
    assert refusal(library, mac) == message


def test_programs_names_of_compressors(library: Library) -> None:
    same = library.evaluate(
        """pkgs.lib.mapAttrsToList (alias: name: map (build:
             (build { name = "x"; compressor = alias; }).drvPath
               == (build { name = "x"; compressor = name; }).drvPath)
             [ nixdock.buildImage nixdock.buildLayeredImage
               ({ name, compressor }:
                 nixdock.buildNixShellImage { inherit name compressor; drv = pkgs.hello; }) ])
           { gzip = "gz"; zst = "zstd"; }"""
    )
    assert same == [[True, True, True], [True, True, True]]


@pytest.mark.parametrize("function", ["buildImage", "buildLayeredImage"])
@pytest.mark.parametrize("compressor", ["zstd:chunked", "estargz"])
def test_compressors_of_layers(library: Library, function: str, compressor: str) -> None:
    arguments = f'name = "x"; compressor = "{compressor}";'
    assert refusal(library, f"(nixdock.{function} {{ {arguments} }}).drvPath") == (
        f"nixdock: image x: the compressor {compressor} is for layers, not for whole files: choose"
        " another format than docker-archive"
    )
    arguments += ' format = "oci-layout";'
    assert library.evaluate(f"builtins.isString (nixdock.{function} {{ {arguments} }}).drvPath")


def test_an_old_nixpkgs_is_named(library: Library) -> None:
    old = f"""(import {LIBRARY} {{ pkgs = pkgs.extend (_: prev: {{
        python3Packages = builtins.removeAttrs prev.python3Packages [ "backports-zstd" ]; }});
      }}).package"""
    assert refusal(library, old) == (
        "nixdock needs python3Packages.backports-zstd, which nixpkgs has since 25.11; use a newer"
        " nixpkgs"
    )
