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
            'name = "x"; tag = 1.1;',
            (
                "nixdock: image x: 1.1 is not a tag: expected at most 128 letters, digits, '_',"
                " '.' and '-', without '.' or '-' at the start"
            ),
        ),
        (
            'name = "x"; uid = "root";',
            'nixdock: image x: uid must be a number, not "root"',
        ),
        (
            'name = "x"; gid = null;',
            "nixdock: image x: gid must be a number, not null",
        ),
        ("name = null;", "nixdock: name must be a string, not null"),
        (
            'name = "x"; includeNixDB = "yes";',
            'nixdock: image x: includeNixDB must be true or false, not "yes"',
        ),
        (
            'name = "x"; config = [ "Cmd" ];',
            'nixdock: image x: config must be an attribute set, not ["Cmd"]',
        ),
        (
            'name = "x"; labels = [ "a=b" ];',
            'nixdock: image x: labels must be an attribute set, not ["a=b"]',
        ),
        (
            'name = "x"; annotations = null;',
            "nixdock: image x: annotations must be an attribute set, not null",
        ),
        (
            'name = "x"; created = 1700000000;',
            (
                'nixdock: image x: created must be a string, such as "2020-01-02", "@SECONDS" or'
                ' "now", not 1700000000'
            ),
        ),
        (
            'name = "x"; extraCommands = [ "true" ];',
            'nixdock: image x: extraCommands must be the text of a script, not ["true"]',
        ),
        (
            'name = "x"; perms = { path = "/x"; };',
            "nixdock: image x: perms must be a list, not an attribute set",
        ),
        (
            'name = "x"; labels = x: x;',
            (
                "nixdock: image x: labels must be an attribute set, not a function; in a list, a"
                " call needs parentheses"
            ),
        ),
        (
            'name = "x"; contents = [ pkgs.hello [ 5 ] ];',
            "nixdock: image x: contents has packages and paths, not 5",
        ),
        (
            'name = "x"; contents = [ pkgs.writeShellScriptBin "a" "b" ];',
            (
                "nixdock: image x: contents has packages and paths, not a function; in a list, a"
                " call needs parentheses"
            ),
        ),
        (
            'name = "x"; config.Cmd = [ pkgs.writeShellScript "start" "exec start" ];',
            ("nixdock: image x: config.Cmd has a function; in a list, a call needs parentheses"),
        ),
        (
            'name = "x"; config.Healthcheck.Test = [ [ pkgs.writeShellScript ] ];',
            (
                "nixdock: image x: config.Healthcheck.Test has a function; in a list, a call needs"
                " parentheses"
            ),
        ),
        (
            'name = "x"; contents = pkgs.python3Packages;',
            "nixdock: image x: contents has packages and paths, not an attribute set",
        ),
        (
            'name = "x"; contents = [ "hello" ];',
            (
                'nixdock: image x: contents has packages and paths, not the text "hello"; write the'
                " package itself, such as pkgs.hello"
            ),
        ),
        (
            'name = "x"; fromImage = { };',
            "nixdock: image x: fromImage is a file, not an attribute set",
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
            "nixdock.mergeImages STREAM",
            "nixdock.mergeImages: the argument must be a list, not the derivation stream-x",
        ),
        (
            "nixdock.mergeImages [ null ]",
            "nixdock.mergeImages: an image of the list is a file, not null",
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
    ("expression", "message"),
    [
        (
            'nixdock.streamLayeredImage { name = "x"; layering = "auto"; }',
            (
                "nixdock: image x: layering must be an attribute set, such as"
                ' { strategy = "auto"; }, not "auto"'
            ),
        ),
        (
            'nixdock.streamLayeredImage { name = "x"; maxLayers = "100"; }',
            'nixdock: image x: maxLayers must be a number, not "100"',
        ),
        (
            'nixdock.buildLayeredImage { name = "x"; includeStorePaths = null; }',
            "nixdock: image x: includeStorePaths must be true or false, not null",
        ),
        (
            'nixdock.buildLayeredImage { name = "x"; enableFakechroot = 1; }',
            "nixdock: image x: enableFakechroot must be true or false, not 1",
        ),
        (
            'nixdock.buildImage { name = "x"; keepContentsDirlinks = ""; }',
            'nixdock: image x: keepContentsDirlinks must be true or false, not ""',
        ),
        (
            '(nixdock.planFamily { a = { name = "x"; layering = "auto"; }; }).a.contents',
            'nixdock.planFamily: layering of a must be an attribute set, not "auto"',
        ),
        (
            'nixdock.buildImage { name = "x"; compressor = null; }',
            (
                "nixdock: image x: compressor must be one of: [estargz gz none zstd zstd:chunked],"
                " not null"
            ),
        ),
        (
            'nixdock.buildLayeredImage { name = "x"; format = true; }',
            (
                "nixdock: image x: format must be one of: [archive docker-archive oci-archive"
                " oci-layout], not true"
            ),
        ),
        (
            'nixdock.buildIndex { name = "x"; images = [ STREAM ]; annotations.a = 1; }',
            "nixdock: index x: annotations.a must be a string, not 1",
        ),
        (
            'nixdock.buildIndex { name = "x"; images = { }; }',
            "nixdock: index x: images must be a list, not an attribute set",
        ),
        (
            'nixdock.streamLayeredImage { name = "x"; mtime = 1; }',
            "nixdock: image x: mtime must be a string, not 1",
        ),
        (
            'nixdock.buildLayeredImage { name = "x"; fakeRootCommands = [ ]; }',
            "nixdock: image x: fakeRootCommands must be the text of a script, not []",
        ),
        (
            'nixdock.buildImage { name = "x"; runAsRoot = true; }',
            "nixdock: image x: runAsRoot must be the text of a script, not true",
        ),
        (
            'nixdock.buildImage { name = "x"; copyToRoot = { a = pkgs.hello; }; }',
            "nixdock: image x: copyToRoot has packages and paths, not an attribute set",
        ),
        (
            'nixdock.pullImage { imageName = "h:1/a:3"; imageDigest = "sha256:0"; hash = ""; }',
            (
                "nixdock.pullImage: h:1/a:3: imageName is a repository without a tag, because"
                " imageDigest says which image it is; give the tag as finalImageTag"
            ),
        ),
        (
            'nixdock.pullImage { imageName = "h:1/a"; imageDigest = "latest"; hash = ""; }',
            (
                "nixdock.pullImage: h:1/a: imageDigest is the digest of a manifest, such as"
                ' sha256:0123..., not "latest"; nix-prefetch-docker prints it'
            ),
        ),
        (
            'nixdock.buildIndex { name = "x"; images = [ STREAM ]; annotations = [ ]; }',
            "nixdock: index x: annotations must be an attribute set, not []",
        ),
        (
            'nixdock.pullImage { imageName = "a/b"; imageDigest = ""; hash = ""; arch = null; }',
            "nixdock.pullImage: a/b: arch must be a string, not null",
        ),
    ],
)
def test_wrong_types(library: Library, expression: str, message: str) -> None:
    stream = '(nixdock.streamLayeredImage { name = "x"; })'
    assert refusal(library, expression.replace("STREAM", stream)) == message


@pytest.mark.parametrize(
    ("builder", "argument", "hint"),
    [
        (
            "buildLayeredImage",
            "copyToRoot",
            "; give contents, or use buildImage, which copies files",
        ),
        ("streamLayeredImage", "compressor", "; use buildLayeredImage, which writes a file"),
        (
            "buildImage",
            "maxLayers",
            "; use buildLayeredImage, because buildImage makes one layer",
        ),
        ("buildLayeredImage", "runAsRoot", "; give fakeRootCommands, with enableFakechroot = true"),
        ("buildImage", "fakeRootCommands", "; give runAsRoot, or use buildLayeredImage"),
        ("buildImage", "entrypoint", "; give config.Entrypoint"),
        ("streamLayeredImage", "layer", ""),
        ("buildImage", "passthru", ""),
    ],
)
def test_there_is_no_such_argument(
    library: Library, builder: str, argument: str, hint: str
) -> None:
    """As of another function of dockerTools."""
    found = refusal(library, f'nixdock.{builder} {{ name = "x"; {argument} = [ ]; }}')
    assert found == f"nixdock: image x: there is no argument {argument}{hint}"


def test_hints_are_for_arguments_that_a_function_lacks(library: Library) -> None:
    lacking = library.evaluate(
        """builtins.mapAttrs (_: f: builtins.attrNames (pkgs.lib.functionArgs f))
          { single = nixdock.buildImage; stream = nixdock.streamLayeredImage; }"""
    )
    assert isinstance(lacking, dict)
    text = (LIBRARY / "unknown-arguments.nix").read_text()
    hinted = set(re.findall(r"^    (\w+) = \"", text, re.MULTILINE))
    assert hinted
    assert hinted & set(lacking["single"]) & set(lacking["stream"]) == set()


def test_no_script_may_be_null(library: Library) -> None:
    """As dockerTools takes it."""
    same = library.evaluate(
        """(nixdock.buildLayeredImage { name = "x"; fakeRootCommands = null; }).drvPath
           == (nixdock.buildLayeredImage { name = "x"; }).drvPath"""
    )
    assert same is True


def test_a_number_is_a_tag(library: Library) -> None:
    """Of images and of indexes, in their specs and programs as in the attribute."""
    found = library.evaluate(
        """let
          images = map (build: build { name = "x"; tag = 1; })
            [ nixdock.buildImage nixdock.streamLayeredImage ];
          index = nixdock.buildIndex { name = "x"; tag = 1; inherit images; };
        in {
          tags = map (image: [ image.imageTag image.remote.tag ]) images ++ [ index.imageTag ];
          isIn = builtins.match ".* --tag x:1 .*" index.push.text != null;
        }"""
    )
    assert found == {"tags": [["1", "1"], ["1", "1"], "1"], "isIn": True}


def test_labels_that_are_a_list_are_left_to_nixdock(library: Library) -> None:
    """Its error names the key, however that is written."""
    image = 'nixdock.streamLayeredImage { name = "x"; config.labels = [ "a=b" ]; }'
    assert library.evaluate(f"({image}).drvPath")


@pytest.mark.parametrize(
    "arguments",
    [
        'name = "Registry.Example:5000/Some/a__b-c.d"; architecture = "riscv64";',
        'name = "localhost/x"; config.Cmd = "bash"; config.Entrypoint = [ "a b" ];',
        'name = "builder:5000/x"; fromImage = /images/base.tar;',
        'name = "x"; fromImage = "/images/base.tar"; config = null;',
        'name = "x"; extraCommands = pkgs.hello; contents = [ [ null ] /images/base.tar ];',
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
