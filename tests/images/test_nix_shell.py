"""Images that are shells for derivations: they build, and have what nix-shell would give."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from ..nix.harness import NixError
from ..runtime.engine import Docker
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

# `hello` is built in the image: it has phases, an input and a patch.
SCOPE = f"""
  let
    common = import {LIBRARY}/common.nix {{ inherit pkgs; inherit (nixdock) package; }};
    files = import {LIBRARY}/files.nix {{ inherit common; }};
    shells = import {LIBRARY}/nix-shell-image.nix {{
      inherit common;
      inherit (files) binSh fakeNss usrBinEnv;
      inherit (nixdock) streamLayeredImage;
    }};
    hello = pkgs.stdenv.mkDerivation {{
      pname = "hello"; version = "1";
      src = pkgs.writeTextDir "hello.in" "#!@shell@\\necho Hello, @whom@!\\n";
      whom = "world";
      buildPhase = ''
        substitute hello.in hello --subst-var-by shell "$SHELL" --subst-var whom
      '';
      installPhase = ''
        mkdir -p $out/bin
        install -m 555 hello $out/bin/hello
      '';
    }};
  in
"""


def build(library: Library, arguments: str, function: str = "buildNixShellImage") -> Path:
    return library.build(
        f'{SCOPE} shells.{function} ({{ name = "shell"; tag = "t"; compressor = "none"; }}'
        f" // {{ {arguments} }})"
    )


def loaded(library: Library, docker: Docker, arguments: str) -> str:
    image = docker.load(build(library, arguments))
    assert image == "shell:t"
    return image


def feed(docker: Docker, image: str, script: str, tmp_path: Path) -> str:
    """What a shell prints that reads commands from a pipe, as does `docker run -i`."""
    file = tmp_path / "commands"
    file.write_text(script)
    with file.open("rb") as stream:
        return docker.run(image, options=["--interactive"], stdin=stream).stdout


def type_in(docker: Docker, image: str, commands: str, until: str) -> str:
    """What a shell on a terminal shows after `commands` were typed."""
    controller, terminal = pty.openpty()
    argv = [*docker.command, "run", "--rm", "-it", "--pull=never", "--network=none", image]
    with subprocess.Popen(
        argv, env=docker.env, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        os.write(controller, commands.encode())
        shown = b""
        end = time.monotonic() + 30
        try:
            while until.encode() not in shown and time.monotonic() < end:
                if select.select([controller], [], [], 0.2)[0]:
                    shown += os.read(controller, 4096)
            os.write(controller, b"\nexit\n")
            process.wait(20)
        finally:
            process.kill()
            os.close(controller)
    return shown.decode(errors="replace")


def test_63_nix_shell_basic(library: Library, docker: Docker, tmp_path: Path) -> None:
    image = loaded(library, docker, "drv = hello;")
    out = feed(docker, image, "buildDerivation && $out/bin/hello\n", tmp_path)
    assert "Hello, world!" in out.splitlines()


def test_63_nix_shell_basic_on_a_terminal(library: Library, docker: Docker) -> None:
    image = loaded(library, docker, "drv = hello;")
    shown = type_in(
        docker,
        image,
        "buildDerivation 2>/dev/null && $out/bin/hello | tr a-z A-Z\n",
        "HELLO, WORLD!",
    )
    assert "HELLO, WORLD!" in shown
    assert "[nix-shell:~]$" in shown


def test_64_nix_shell_hook(library: Library, docker: Docker) -> None:
    image = loaded(
        library, docker, "drv = pkgs.mkShell { shellHook = ''echo \"This is the hook!\"; exit''; };"
    )
    assert "This is the hook!" in docker.run(image, options=["-t"]).stdout


def test_65_nix_shell_inputs(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        'drv = pkgs.mkShell { nativeBuildInputs = [ pkgs.hello ]; }; command = "hello";',
    )
    assert "Hello, world!" in docker.run(image, options=["-t"]).stdout


def test_66_nix_shell_pass_as_file(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        """drv = pkgs.mkShell { str = "this is a string"; passAsFile = [ "str" ]; };
           command = "cat \\"$strPath\\"; echo; echo \\"str=<$str>\\"";""",
    )
    assert docker.run(image, options=["-t"]).stdout.split("\r\n")[:2] == [
        "this is a string",
        "str=<>",
    ]


INTERACTIVE = """''
  case "$-" in
    *i*) echo interactive ;;
    *) echo not interactive ;;
  esac
''"""


def test_67_nix_shell_run(library: Library, docker: Docker) -> None:
    image = loaded(library, docker, f"drv = pkgs.mkShell {{ }}; run = {INTERACTIVE};")
    assert docker.run(image, options=["-t"]).stdout.strip() == "not interactive"
    assert docker.run(image).stdout.strip() == "not interactive"


def test_68_nix_shell_command(library: Library, docker: Docker) -> None:
    image = loaded(library, docker, f"drv = pkgs.mkShell {{ }}; command = {INTERACTIVE};")
    assert docker.run(image, options=["-t"]).stdout.strip() == "interactive"


def test_69_nix_shell_writable_home(library: Library, docker: Docker) -> None:
    image = loaded(
        library, docker, 'drv = pkgs.mkShell { }; run = "touch ~/test-file; ls ~; echo $HOME";'
    )
    assert docker.run(image).stdout.split() == ["test-file", "/build"]


def test_70_nix_shell_nonexistent_home(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        """drv = pkgs.mkShell { }; homeDirectory = "/homeless-shelter";
           run = "if touch ~/test-file; then echo touched; else echo no home; fi";""",
    )
    assert docker.run(image).stdout.strip() == "no home"


def test_71_nix_shell_build_derivation(library: Library, docker: Docker) -> None:
    image = loaded(library, docker, 'drv = hello; run = "buildDerivation && $out/bin/hello";')
    assert docker.run(image).stdout.splitlines()[-1] == "Hello, world!"


def test_what_is_built_is_what_nix_builds(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        'drv = hello; run = "buildDerivation >/dev/null; echo $out; cat $out/bin/hello";',
    )
    built = library.build(f"{SCOPE} hello")
    path, *content = docker.run(image).stdout.splitlines()
    assert path == str(built)
    assert content == (built / "bin/hello").read_text().splitlines()


def test_a_content_addressed_derivation_is_built(library: Library, docker: Docker) -> None:
    """At a path of the image's own, because only a build by Nix tells the right one."""
    image = library.build(
        """nixdock.streamNixShellImage {
          name = "shell"; tag = "t";
          run = "buildDerivation && cat $out/bin/which && realpath $dev";
          drv = pkgs.runCommand "which" {
            __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
            outputs = [ "out" "dev" ]; own = placeholder "dev";
          } "mkdir -p $out/bin $dev; echo $out $own > $out/bin/which";
        }""",
        *("--option", "experimental-features", "nix-command flakes ca-derivations"),
    )
    with subprocess.Popen([image], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name = docker.load(process.stdout)
    written, dev = docker.run(name).stdout.splitlines()[-2:]
    assert re.fullmatch("/nix/store/[0-9a-df-np-sv-z]{32}-which-dev", dev)
    out, own = written.split()
    assert re.fullmatch("/nix/store/[0-9a-df-np-sv-z]{32}-which", out)
    assert own == dev


def test_the_user_owns_what_a_build_needs(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        """drv = pkgs.mkShell { }; uid = 1234; gid = "4321"; run = ''
             id -un; id -gn; id -u; id -g; pwd
             stat -c '%u:%g %a %n' /nix /nix/store /nix/var/nix /etc/nix /build /tmp
             echo test > /tmp/file
           '';""",
    )
    assert docker.run(image).stdout.splitlines() == [
        *("nixbld", "nixbld", "1234", "4321", "/build"),
        *(
            f"1234:4321 755 {path}"
            for path in ("/nix", "/nix/store", "/nix/var/nix", "/etc/nix", "/build")
        ),
        "0:0 1777 /tmp",
    ]


def test_a_shell_shares_its_store_layers_with_other_images(
    library: Library, docker: Docker
) -> None:
    image = loaded(library, docker, "drv = pkgs.mkShell { };")
    other = docker.load(
        library.build(
            'nixdock.buildLayeredImage { name = "o"; tag = "t"; contents = [ pkgs.bash ]; }'
        )
    )
    mine, theirs = (docker.inspect(name)["RootFS"]["Layers"] for name in (image, other))
    assert set(theirs[:-1]) <= set(mine)


def test_the_environment_is_that_of_the_sandbox(library: Library, docker: Docker) -> None:
    image = loaded(
        library,
        docker,
        """drv = pkgs.stdenv.mkDerivation {
             name = "e"; outputs = [ "out" "dev" ]; buildCommand = "";
             yes = true; no = false; nothing = null; number = 3; home = ./.;
             list = [ "a" [ ] [ "b" 1 true ] ]; own = "${placeholder "dev"}/include";
             text = "two\\nlines";
           };""".replace("./.", str(LIBRARY / "overlay.nix")),
    )
    env = dict(line.split("=", 1) for line in docker.inspect(image)["Config"]["Env"])
    drv = library.evaluate(
        """let d = pkgs.stdenv.mkDerivation { name = "e"; }; in { shell = d.builder; }"""
    )
    assert isinstance(drv, dict)
    assert {key: env[key] for key in ("yes", "no", "nothing", "number", "list", "text")} == {
        "yes": "1",
        "no": "",
        "nothing": "",
        "number": "3",
        "list": "a b 1 1",
        "text": "two\nlines",
    }
    assert env["home"].startswith("/nix/store/")
    assert env["home"].endswith("-overlay.nix")
    assert env["own"] == f"{env['dev']}/include"
    assert env["outputs"] == "out dev"
    assert env["builder"] == drv["shell"]
    for name in ("NIX_BUILD_TOP", "PWD", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "HOME"):
        assert env[name] == "/build"
    assert env["NIX_STORE"] == "/nix/store"
    assert env["NIX_BUILD_CORES"] == "1"
    assert env["TERM"] == "xterm-256color"
    assert env["SSL_CERT_FILE"] == env["NIX_SSL_CERT_FILE"]
    assert "args" not in env


def test_the_environment_agrees_with_nix(library: Library, docker: Docker) -> None:
    """A builder that shows its environment sees in the image what it sees in the sandbox."""
    attributes = """
      name = "show"; outputs = [ "out" "man" ];
      a = [ ]; b = [ "x" [ ] "y" ]; c = [ [ "x" ] [ ] ]; d = [ true false null 7 ];
      e = "quote ' \\" $HOME \\\\ `x`"; f = pkgs.hello; g = ''
        lines
      ''; h = "${placeholder "out"}:${placeholder "man"}"; i = 1.5; j = null;
      long = "file"; passAsFile = [ "long" "h2" ]; h2 = "at ${placeholder "out"}";
    """
    derivation = f"""derivation {{ {attributes}
      inherit (pkgs) system; builder = "${{pkgs.bash}}/bin/bash";
      args = [ "-c" ''
        export PATH=${{pkgs.coreutils}}/bin
        for name in a b c d e f g h i j out man outputs name system builder NIX_STORE TMPDIR PWD
        do printf '%s=<%s>\\n' $name "''${{!name}}"; done >$out
        cat $longPath $h2Path >>$out
        echo "''${{long-unset}}" >>$out
        echo >$man
      '' ]; }}"""
    image = loaded(
        library,
        docker,
        f"""drv = {derivation};
            run = "PATH=$PATH:${{pkgs.coreutils}}/bin; buildDerivation; cat $out";""",
    )
    assert docker.run(image).stdout == library.build(derivation).read_text()


def test_names_and_attributes(library: Library) -> None:
    found = library.evaluate(
        f"""{SCOPE}
          let built = shells.buildNixShellImage {{ drv = hello; }};
              named = shells.buildNixShellImage {{ drv = hello; name = "X/Y"; tag = "V";
                                                  compressor = "zstd"; }};
              stream = shells.streamNixShellImage {{ drv = hello; }};
              arguments = f: builtins.attrNames (builtins.functionArgs f);
          in {{
            built = {{ inherit (built) name imageName; tag = built.imageTag == stream.imageTag; }};
            named = {{ inherit (named) name imageName imageTag; }};
            stream = {{ inherit (stream) name imageName isExe; }};
            arguments = arguments shells.streamNixShellImage;
          }}"""
    )
    assert found == {
        "built": {"name": "hello-1-env.tar.gz", "imageName": "hello-1-env", "tag": True},
        "named": {"name": "hello-1-env.tar.zst", "imageName": "x/y", "imageTag": "V"},
        "stream": {"name": "stream-hello-1-env", "imageName": "hello-1-env", "isExe": True},
        "arguments": sorted(
            ["drv", "name", "tag", "uid", "gid", "homeDirectory", "shell", "command", "run"]
        ),
    }


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("gtk+3-3.24.43", "gtk-3-3.24.43-env"),
        ("libc++", "libc---env"),
        ("Foo_1.0", "foo_1.0-env"),
        ("_x.-1?=2", "x-1-2-env"),
    ],
)
def test_images_of_derivations_with_other_names(library: Library, name: str, image: str) -> None:
    """Names of derivations may have characters that a runtime refuses in one of an image."""
    found = library.evaluate(
        f"""let
            drv = pkgs.runCommand "{name}" {{ }} "";
            built = nixdock.buildNixShellImage {{ inherit drv; }};
          in [ built.name built.imageName built.stream.remote.name ]"""
    )
    assert found == [f"{name}-env.tar.gz", image, image]


def test_a_stream_is_loaded_from_a_pipe(library: Library, docker: Docker) -> None:
    stream = library.build(
        f'{SCOPE} shells.streamNixShellImage {{ drv = hello; tag = "s"; run = "type -P sed"; }}'
    )
    with subprocess.Popen([stream], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        image = docker.load(process.stdout)
    assert image == "hello-1-env:s"
    assert docker.run(image).stdout.endswith("/bin/sed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            'drv = pkgs.runCommand "s" { __structuredAttrs = true; } "";',
            "s has __structuredAttrs, whose environment is in files",
        ),
        ('drv = pkgs.hello; run = "a"; command = "b";', "give command or run, not both"),
    ],
)
def test_what_can_not_be_is_refused(library: Library, arguments: str, message: str) -> None:
    with pytest.raises(NixError, match=message):
        library.evaluate(f"{SCOPE} (shells.streamNixShellImage {{ {arguments} }}).outPath")


def test_the_image_has_no_output_of_the_derivation(library: Library, docker: Docker) -> None:
    library.build(f"{SCOPE} hello")
    image = loaded(
        library, docker, 'drv = hello; run = "[ ! -e $out ] && [ -e $src ] && echo yes";'
    )
    assert docker.run(image).stdout == "yes\n"
    assert json.dumps(docker.inspect(image)["Config"]["User"]) == '"1000:1000"'
