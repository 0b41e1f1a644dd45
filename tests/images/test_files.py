"""What the library's small trees hold, and that programs in containers find it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from nixdock.tar.tarsum import tarsum

from ..runtime.engine import Docker
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]


def scope(file: str) -> str:
    return (
        f"(import {LIBRARY}/{file} {{ common = import {LIBRARY}/common.nix {{"
        " inherit pkgs; inherit (nixdock) package; }; })"
    )


FILES = scope("files.nix")


def tree(top: Path) -> dict[str, str]:
    """Every file's content, or what a link points to."""
    return {
        str(path.relative_to(top)): (
            f"-> {path.readlink()}"
            if path.is_symlink()
            else "directory"
            if path.is_dir()
            else path.read_text()
        )
        for path in sorted(top.rglob("*"))
    }


def test_fake_nss(library: Library) -> None:
    assert tree(library.build(f"{FILES}.fakeNss")) == {
        "etc": "directory",
        "etc/group": "root:x:0:\nnobody:x:65534:\n",
        "etc/nsswitch.conf": "hosts: files dns\n",
        "etc/passwd": (
            "root:x:0:0:root user:/var/empty:/bin/sh\n"
            "nobody:x:65534:65534:nobody:/var/empty:/bin/sh\n"
        ),
        "var": "directory",
        "var/empty": "directory",
    }


def test_fake_nss_takes_more_lines(library: Library) -> None:
    found = tree(
        library.build(
            f"""{FILES}.fakeNss.override {{
              extraPasswdLines = [ "me:x:1:2:it's $HOME:/:/bin/sh" "you:x:3:4::/:/bin/sh" ];
              extraGroupLines = [ "us:x:2:me,you" ]; }}"""
        )
    )
    names = [line.partition(":")[0] for line in found["etc/passwd"].splitlines()]
    assert names == ["root", "me", "you", "nobody"]
    assert "me:x:1:2:it's $HOME:/:/bin/sh\n" in found["etc/passwd"]
    assert found["etc/group"] == "root:x:0:\nus:x:2:me,you\nnobody:x:65534:\n"


def test_usual_places_of_programs(library: Library) -> None:
    env, shell = (library.build(f"{FILES}.{name}") for name in ("usrBinEnv", "binSh"))
    coreutils, bash = (library.build(f"pkgs.{name}") for name in ("coreutils", "bashInteractive"))
    assert (env / "usr/bin/env").readlink() == coreutils / "bin/env"
    assert (shell / "bin/sh").readlink() == bash / "bin/bash"


def test_usual_places_of_certificates(library: Library) -> None:
    found = tree(library.build(f"{FILES}.caCertificates"))
    bundle = f"-> {library.build('pkgs.cacert')}/etc/ssl/certs/ca-bundle.crt"
    assert {name: what for name, what in found.items() if what != "directory"} == {
        "etc/pki/tls/certs/ca-bundle.crt": bundle,
        "etc/ssl/certs/ca-bundle.crt": bundle,
        "etc/ssl/certs/ca-certificates.crt": bundle,
    }


def test_they_serve_an_image(library: Library, docker: Docker) -> None:
    image = docker.load(
        library.build(
            f"""nixdock.buildLayeredImage {{
              name = "files"; tag = "t"; compressor = "none";
              contents = with {FILES}; [
                binSh usrBinEnv caCertificates pkgs.coreutils pkgs.gnugrep
                (fakeNss.override {{ extraPasswdLines = [ "me:x:1000:1000::/:/bin/sh" ]; }})
              ];
              config.User = "me";
              config.Cmd = [ "/usr/bin/env" "sh" "-c" ''
                whoami
                for file in etc/ssl/certs/ca-bundle.crt etc/ssl/certs/ca-certificates.crt \\
                  etc/pki/tls/certs/ca-bundle.crt
                do
                  grep -c -m1 'BEGIN CERTIFICATE' /$file
                done
              '' ];
            }}"""
        )
    )
    assert docker.run(image).stdout.split() == ["me", "1", "1", "1"]


MERGED = " ".join(
    f'(pkgs.writeTextDir "{path}" "{text}")'
    for path, text in (("a/one", 1), ("a/two", 2), ("a/one", 3))
)


def test_merged_derivations_are_one_tree(library: Library) -> None:
    found = tree(library.build(f"{FILES}.mergeDrvs {{ derivations = [ {MERGED} ]; }}"))
    assert found == {"a": "directory", "a/one": "3", "a/two": "2"}


def test_scripts_find_words_whatever_is_the_default(library: Library) -> None:
    """With structured attributes, a list is an array, of which a variable has the first element."""
    structured = """pkgs.extend (_: prev: {
      runCommandWith = args: prev.runCommandWith (args // {
        derivationArgs = { __structuredAttrs = true; } // args.derivationArgs or { }; }); })"""
    scope = f"(import {LIBRARY} ({structured}))"
    merged = f"{scope}.mergeDrvs {{ derivations = [ {MERGED} ]; }}"
    assert tree(library.build(merged)) == {"a": "directory", "a/one": "3", "a/two": "2"}
    nss = tree(library.build(f"{scope}.fakeNss"))
    assert nss["etc/passwd"].startswith("root:x:0:0:")


def test_a_tar_is_merged_as_what_is_in_it(library: Library) -> None:
    found = library.build(
        f"""{FILES}.mergeDrvs {{ derivations = [ (pkgs.writeTextDir "b/one" "1")
          (pkgs.runCommand "t.tar" {{ }} "mkdir b; echo hi > b/two; tar -cf $out b") ]; }}"""
    )
    assert tree(found) == {"b": "directory", "b/one": "1", "b/two": "hi\n"}


def test_only_the_references_of_derivations_are_merged(library: Library) -> None:
    merged = library.build(f"{FILES}.mergeDrvs {{ derivations = [ {MERGED} ]; onlyDeps = true; }}")
    parts = library.closure_of(f"[ {MERGED} ]")
    assert {Path(path) for path in merged.read_text().split()} == set(parts)
    assert set(library.nix.closure(merged)) == {merged, *parts}


def test_shadow_is_set_up_and_can_be_used(library: Library, docker: Docker) -> None:
    image = docker.load(
        library.build(
            f"""nixdock.buildLayeredImage {{
              name = "shadow"; tag = "t"; compressor = "none";
              contents = [ pkgs.coreutils {FILES}.binSh ];
              extraCommands = "mkdir -m 1777 tmp; mkdir etc";
              config.Entrypoint = [ "/bin/sh" "-e" (pkgs.writeText "setup" ''
                ${{{FILES}.shadowSetup}}
                ${{{FILES}.shadowSetup}}
                groupadd -r redis
                useradd -r -g redis -d /data -M redis
                cat /etc/passwd /etc/group
                stat -c '%a %n' /etc/shadow /etc/gshadow
                cat /etc/pam.d/other /etc/login.defs
              '') ];
            }}"""
        )
    )
    lines = docker.run(image).stdout.splitlines()
    shell = library.evaluate("pkgs.runtimeShell")
    assert lines[0] == f"root:x:0:0::/root:{shell}"
    assert lines[1].startswith("redis:x:")
    assert lines[1].split(":")[5] == "/data"
    assert lines[2] == "root:x:0:"
    assert lines[3].startswith("redis:x:")
    assert lines[4:] == [
        "600 /etc/shadow",
        "600 /etc/gshadow",
        "account sufficient pam_unix.so",
        "auth sufficient pam_rootok.so",
        "password requisite pam_unix.so nullok yescrypt",
        "session required pam_unix.so",
    ]


def test_files_that_are_there_stay(library: Library, docker: Docker) -> None:
    image = docker.load(
        library.build(
            f"""nixdock.buildLayeredImage {{
              name = "shadow"; tag = "kept"; compressor = "none";
              contents = [ pkgs.coreutils {FILES}.binSh ];
              extraCommands = ''
                mkdir -p etc/pam.d
                for file in passwd group pam.d/other login.defs; do echo mine > etc/$file; done
              '';
              config.Cmd = [ "/bin/sh" "-e" (pkgs.writeText "setup" ''
                ${{{FILES}.shadowSetup}}
                cd /etc; cat passwd group pam.d/other login.defs; ls
              '') ];
            }}"""
        )
    )
    lines = docker.run(image).stdout.split()
    assert lines[:4] == ["mine"] * 4
    assert not {"shadow", "gshadow"} & set(lines)


def test_the_program_tarsum_reads_standard_input(library: Library) -> None:
    program = library.build(f"{scope('programs.nix')}.tarsum") / "bin/tarsum"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("a")
        info.uname = "somebody"
        tar.addfile(info)
    done = subprocess.run(
        [os.fspath(program)], input=stream.getvalue(), capture_output=True, check=True
    )
    stream.seek(0)
    assert done.stdout.decode().strip() == tarsum(stream, names=False)
